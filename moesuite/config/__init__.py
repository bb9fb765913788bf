"""From the command line to a checked `RunConfig`: declarations, parsing, composition. No torch."""
