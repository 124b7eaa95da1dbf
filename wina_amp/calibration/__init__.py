"""Calibrate a profile set of a live model on texts, in memory: `calibrate` calls what the stages of the study call."""
