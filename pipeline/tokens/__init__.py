"""Text to token ids, and batches of token ids: one definition for capture, calibration and evaluation."""
