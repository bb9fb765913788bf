"""Frozen grids and speed measurements."""
