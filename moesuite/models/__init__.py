"""Backbones, their MLPs and MoE blocks, and example inputs."""
