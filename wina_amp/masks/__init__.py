"""Masks: the tokens and features that they act on, threshold and top-k, and their installation on a model."""
