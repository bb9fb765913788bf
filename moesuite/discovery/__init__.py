"""From a name to a file, its class and the class's options, read from source. No torch."""
