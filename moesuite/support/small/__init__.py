"""Small models of timm and transformers, with inputs that they take."""
