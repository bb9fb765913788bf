"""What is written and read: schemas, identity, provenance. No torch; all that the leaderboard may import."""
