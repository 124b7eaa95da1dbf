"""Thresholds of a model as it runs sparse: calibrated under the masks that stand before them (`as_run`)."""
