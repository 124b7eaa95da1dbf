"""The KL between dense and masked answers, its gradient by sparsities and feature weights, and descent on it."""
