"""Models: families as data, loading, checkpoint integrity, projections, mask sites, rotation."""
