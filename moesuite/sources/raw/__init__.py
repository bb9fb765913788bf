"""What is in files of tables: bytes, text, JSON, names of classes."""
