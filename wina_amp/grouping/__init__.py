"""Groups of samples by their activation pattern."""
