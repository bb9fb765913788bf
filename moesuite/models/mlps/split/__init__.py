"""MLPs that are found by following tokens through the source of a layer's forward."""
