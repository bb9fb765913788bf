"""One router, one file; the file's name is the router's name on the command line."""
