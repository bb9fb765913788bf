"""Models of users, deployed: exported, compiled, sharded."""
