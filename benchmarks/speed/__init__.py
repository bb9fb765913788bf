"""Speed, always as ratios of interleaved medians taken in one run."""
