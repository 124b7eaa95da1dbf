"""The command `wina-amp`: make, inspect, share, try and time profile sets, and import GGUF files."""
