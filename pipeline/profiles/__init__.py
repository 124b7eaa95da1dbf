"""Profiles: the thresholds of an allocation, and the measured figures of a profile set."""
