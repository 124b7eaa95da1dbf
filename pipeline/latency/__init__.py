"""Measured speed of sparse decoding beside the strongest dense baseline of the same machine (RQ4)."""
