"""Generated tasks whose right answer is known, on which routers differ by construction."""
