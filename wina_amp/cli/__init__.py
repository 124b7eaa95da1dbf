"""The command `wina-amp`: profile sets looked at, shared, tried and exported, and GGUF files imported."""
