"""Samples as token ids, batches of them, and their padding: one definition for capture, calibration and evaluation."""
