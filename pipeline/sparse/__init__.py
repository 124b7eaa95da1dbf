"""Running a model sparse: what a mask means, and how masks are put on a model and taken off again."""
