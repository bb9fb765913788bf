"""Many runs: sweeps, frozen benchmarks, launchers, and their console tables."""
