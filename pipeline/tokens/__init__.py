"""Text to token ids, and batches of token ids, in one way for capture, calibration and evaluation."""
