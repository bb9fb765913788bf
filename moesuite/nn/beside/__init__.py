"""What an MoE layer has beside its router and its routed experts."""
