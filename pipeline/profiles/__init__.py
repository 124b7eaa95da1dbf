"""Profiles: an allocation turned into thresholds, and what a profile set was measured to do."""
