"""What is checked of a model."""
