"""Observe a model as it runs: score histograms and feature magnitudes of every mask site."""
