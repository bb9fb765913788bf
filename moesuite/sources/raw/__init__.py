"""What is in files of tables: bytes, text, JSON."""
