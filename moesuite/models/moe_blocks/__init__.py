"""MoE layers that a model of Hugging Face has already, read part by part."""
