"""Where data comes from, and what is kept of it."""
