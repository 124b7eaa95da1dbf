"""Masks: which tokens and features they act on, threshold and top-k, and how they are installed on a model."""
