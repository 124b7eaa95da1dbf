"""Scores of input features: criteria, learned feature weights, and signatures of which features fire."""
