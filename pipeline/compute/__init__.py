"""Floating-point operations, counted from shapes."""
