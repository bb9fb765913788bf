"""MLPs of any library, read as `DenseMLP`."""
