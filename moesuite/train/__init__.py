"""One run: configuration -> record."""
