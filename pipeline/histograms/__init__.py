"""Score histograms: bins, merging, quantiles."""
