"""Where the task files' `!function embedded.dataset` finds the generator (lm-eval resolves it beside the YAML)."""

from pipeline.tasks.embedded.dataset import dataset

__all__ = ["dataset"]
