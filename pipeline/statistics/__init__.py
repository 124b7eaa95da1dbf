"""Agreement of labelings, bootstrap intervals, scores at matched compute, p-values: plain arrays in, numbers out."""
