"""Hydra configuration: YAML files only."""
