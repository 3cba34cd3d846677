"""What the hot path costs, as ratios within one run: ``make benchmark``."""
