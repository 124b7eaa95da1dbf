"""How a sparsity budget is spread over the projections of a model: one module per way."""
