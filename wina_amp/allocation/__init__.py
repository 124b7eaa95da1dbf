"""Allocation: a sparsity budget spread over the projections of a model, one package or module per method."""
