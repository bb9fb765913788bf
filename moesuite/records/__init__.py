"""Records: schemas, store, identity, provenance. No torch; the leaderboard imports this room."""
