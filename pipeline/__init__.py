"""WINA-AMP: activation-sparsity profiles per group of inputs, and the evidence for what they are worth."""
