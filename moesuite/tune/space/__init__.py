"""Search spaces: what is searched, as it is written."""
