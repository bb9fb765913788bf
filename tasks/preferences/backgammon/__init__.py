"""Backgammon: positions, experts, self-play and games."""
