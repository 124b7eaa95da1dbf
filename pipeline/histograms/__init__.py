"""The histograms of samples as rows of tables, and their sums over groups."""
