"""Where the task files' `!function embedded.dataset` finds the generator (lm-eval resolves it beside the YAML)."""

from pipeline.benchmark.embedded import dataset

__all__ = ["dataset"]
