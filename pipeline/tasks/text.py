"""Text as an lm-eval task: every document is a context and one continuation, scored by its log-likelihood.

Text has no right answer, so these tasks count in perplexity and not in accuracy. The prompt is the context and nothing
else: neither solved examples nor a chat template are put around it. lm-eval's own rolling tasks (`wikitext`) score
whole pages without a prompt; there is nothing a profile could be chosen by, so their pages are cut into windows here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from datasets import Dataset, DatasetDict
from lm_eval.api.task import ConfigurableTask, Task

from pipeline.tasks.windows import Windows

LOGLIKELIHOOD = "perplexity"
"""lm-eval's name for a document's log-likelihood, before it is averaged."""


class TextTask(ConfigurableTask):
    """A task whose documents have the columns `context` and `continuation`."""

    def fewshot_context(self, doc: Mapping[str, Any], *_args: Any, **_kwargs: Any) -> str:
        """The prompt."""
        return doc["context"]


def text_task(name: str, splits: Mapping[str, Dataset], training: str | None, evaluated: str) -> TextTask:
    """A task over `splits`, whose rows have the columns `context`, `continuation` and labels.

    Raises:
        IndexError: the evaluated split is empty (raised by lm-eval).
    """
    return TextTask(
        config={
            "task": name,
            "custom_dataset": lambda **_: DatasetDict(cast(Any, splits)),
            "output_type": "loglikelihood",
            "training_split": training,
            "test_split": evaluated,
            "doc_to_text": "context",
            "doc_to_target": "continuation",
            "target_delimiter": "",
            "num_fewshot": 0,
            # lm-eval's own average would be exp(-mean), which overflows for long windows.
            "metric_list": [{"metric": LOGLIKELIHOOD, "aggregation": "mean", "higher_is_better": True}],
        }
    )


def from_rolling(name: str, task: Task, windows: Windows) -> TextTask:
    """The windows of the pages of one of lm-eval's rolling tasks, split by split, under its alias."""
    training = cast(str | None, task.get_config("training_split"))
    evaluated = str(task.get_config("test_split") or task.get_config("validation_split"))
    pages: dict[str, Any] = {evaluated: task.eval_docs}
    if training is not None:
        pages[training] = task.training_docs()
    cut = {split: _windows(task, docs, windows) for split, docs in pages.items()}
    made = text_task(name, cut, training, evaluated)
    made.set_config("task_alias", task.get_config("task_alias"))
    return made


def _windows(task: Task, pages: Any, windows: Windows) -> Dataset:
    pairs = [pair for page in pages for pair in windows.cut(str(task.doc_to_target(page)))]
    return Dataset.from_dict({name: [pair[i] for pair in pairs] for i, name in enumerate(("context", "continuation"))})
