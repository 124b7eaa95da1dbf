"""The embedded benchmark, and the way from lm-eval tasks to samples."""
