"""Small networks of this package: what no library has."""
