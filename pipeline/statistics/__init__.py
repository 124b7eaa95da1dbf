"""Agreement of labelings, bootstrap intervals, p-values. Plain arrays in, numbers out."""
