"""From the command line to a checked `RunConfig`: parsing, composition, discovery of names. No torch."""
