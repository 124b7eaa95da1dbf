"""Text as token ids, samples of them, batches and padding: one definition for capture, calibration and evaluation."""
