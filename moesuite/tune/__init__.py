"""Studies: search of a router's options."""
