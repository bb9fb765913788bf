"""Auxiliary losses in training loops of others: of transformers' Trainer, or of any script."""
