"""The catalogue of experts: one file each. The name of an expert is its file's, with hyphens."""
