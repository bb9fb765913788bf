"""MoE layers in a model: moefy, upcycle, reroute, save and load."""
