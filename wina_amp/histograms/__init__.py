"""Score histograms: the bins of scores, and thresholds as their quantiles."""
