"""Schemes: which group every sample belongs to, by clusters, gradients, labels, or chance."""
