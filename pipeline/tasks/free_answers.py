"""The right answers of documents whose answers are generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.tasks.local_files import SeparatedTask
from pipeline.tasks.separator import separator
from pipeline.tasks.task_view import TaskView

_WHOLE = {"take_first", "remove_whitespace"}
"""lm-eval's filters that leave a text whole."""


def right_answers(view: TaskView, document: Mapping[str, Any]) -> list[str]:
    """All right answers of a document, the one that profiles are built on first; an empty one where the list is.

    Raises:
        ValueError: it has no such column, or nothing in it; lm-eval would compare with "None".
    """
    task: Any = view.task
    target = task.doc_to_target(document)
    if target is None:
        raise ValueError("no right answer")
    if task.config.doc_to_choice is not None and isinstance(target, int):
        target = task.doc_to_choice(document)[target]
    answers = [str(answer) for answer in target] if isinstance(target, list) else [str(target)]
    return answers or [""]


def separator_of(view: TaskView, prompt: str, answer: str) -> str:
    """What stands between a prompt and its right answer: the task's `target_delimiter`, unless one side brings white
    space; of a local file `separator`. In a chat an answer begins a turn of its own, unless the task begins it (as
    lm-eval has it for choices)."""
    task: Any = view.task
    if view.is_chat and not task.config.gen_prefix:
        return ""
    if isinstance(task, SeparatedTask):
        return separator(prompt, answer)
    is_apart = prompt[-1:].isspace() or answer[:1].isspace()
    return "" if is_apart else str(task.config.target_delimiter)


def is_compared_whole(view: TaskView) -> bool:
    """Whether a generated text is right only if all of it equals an answer: nothing is extracted or left out."""
    task: Any = view.task
    functions = {part["function"] for part in (task.config.filter_list or [{"filter": []}])[0]["filter"]}
    is_strict = not task._metric_fn_kwargs.get(view.score) and not task.config.process_results
    return view.score == "exact_match" and functions <= _WHOLE and is_strict
