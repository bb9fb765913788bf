"""FLOPs, parameters, memory, time, energy."""
