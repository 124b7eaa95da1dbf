"""What people run that is no stage: check, preset, estimate."""
