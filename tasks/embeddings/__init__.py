"""Text embeddings: contrastive training; search, similarity, classification."""
