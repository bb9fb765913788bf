"""Task families: one Python file per family, one YAML of at most 20 lines per data set."""
