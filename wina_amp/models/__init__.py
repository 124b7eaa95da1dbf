"""Models as masks see them: families as data, loading, checkpoint integrity, projections, mask sites, rotation."""
