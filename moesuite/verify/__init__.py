"""Run records again, and tell whether the same comes out."""
