"""Run records again, and say whether the same comes out."""
