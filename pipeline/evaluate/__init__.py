"""Evaluation through lm-eval with our model class: every sample's score, realised sparsity and operations."""
