"""Language modelling on packed text."""
