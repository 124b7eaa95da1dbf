"""One split of an lm-eval task, ready to make requests of its documents.

lm-eval evaluates the test (or validation) split of a task. Profiles are built on the training split and evaluated on
all, so each task is loaded once and then viewed several times: `train` evaluates its training documents, `test` the
ones that lm-eval would, `confirmation` those of its split of that name or, where it has none, what the others leave of
the evaluated ones. For a task without a training split, all take from its test split; selected documents are always
disjoint (`pipeline/tasks/selection.py`).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, cast

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task

from pipeline.tasks.repeatable import drawn_examples, fixed_randomness
from pipeline.tasks.text import LOGLIKELIHOOD, TextTask
from pipeline.tasks.windows import Windows
from wina_amp.errors import UserError
from wina_amp.names import CONFIRMATION, REFITS, TEST, TRAIN

SCORES = ("acc", "exact_match")
"""The per-sample metrics that are understood, the first that a task reports is used; both are 0 or 1 per sample."""

KIND_OF_OUTPUT = {"multiple_choice": "choice", "loglikelihood": "choice", "generate_until": "generation"}
ROLLING = "loglikelihood_rolling"

_ROWS_PER_READ = 1000

_TODAY = date(2024, 7, 26)
"""The day that Llama 3.1's chat template names where there is no clock."""


@dataclass(frozen=True)
class Prompting:
    """How documents become prompts.

    Attributes:
        num_fewshot: solved examples in front of each; None is the task's own number, and a task that fixes 0 keeps it.
        is_chat: whether prompts are put into the tokenizer's chat template.
        windows: how running text is cut.
        today: the date that a chat template is told.
    """

    num_fewshot: int | None = None
    is_chat: bool = False
    windows: Windows = field(default_factory=Windows)
    today: date = _TODAY


@dataclass(frozen=True)
class TaskView:
    """One split of a task.

    Attributes:
        name: lm-eval's name of the task.
        split: `train`, `test` or `confirmation`.
        task: the task, set to evaluate this split; its own name is `key`.
        kind: `choice`, `generation` or `text`.
        score: lm-eval's metric that is read for every sample: one of `SCORES`, or the log-likelihood of text.
        is_shared: whether train and test are taken from the same documents.
        refit: which of the calibration draws `train` is; 0 is the first.
        is_chat: whether prompts are put into the chat template; never for text.
        today: the date that a chat template is told.
        subject: the subject of documents that name none: what tells the tasks of a group apart, else empty.
        requested_as: the names that it was loaded for: its own, or those of groups and tags.
    """

    name: str
    split: str
    task: Task
    kind: str
    score: str
    is_shared: bool
    refit: int = 0
    is_chat: bool = False
    today: date = _TODAY
    subject: str = ""
    requested_as: tuple[str, ...] = ()
    _narrowed: dict[tuple[int, ...], Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def key(self) -> str:
        """`name/split`, the first two parts of a sample_id."""
        return f"{self.name}/{self.split}"

    @cached_property
    def documents(self) -> Sequence[Mapping[str, Any]]:
        """All documents of the split, in the order in which doc_id counts them; made once, as a task may shuffle."""
        with fixed_randomness():
            return cast(Sequence[Mapping[str, Any]], self.task.eval_docs)

    @property
    def hashes(self) -> Iterator[str]:
        """`doc_hash` of every document, in order; read 1000 at a time, three times faster than one by one."""
        documents = self.documents
        for start in range(0, len(documents), _ROWS_PER_READ):
            yield from map(doc_hash, _rows(documents, range(start, min(start + _ROWS_PER_READ, len(documents)))))

    def only(self, doc_ids: Sequence[int]) -> Task:
        """The task with just these documents, numbered from 0 in the given order; ready to be evaluated once more.

        A document has the prompt that it has when lm-eval asks about all documents of the split. Documents become a
        plain list, because access to a data set row by row costs more than everything else lm-eval does with one.
        """
        key = tuple(doc_ids)
        if key not in self._narrowed:
            task = _copy(self.task)
            task.dataset = {task.config.test_split: _rows(self.documents, key)}
            task.set_config("process_docs", None)  # it has been applied to them already
            if task.config.num_fewshot:
                task.sampler = drawn_examples(self.task, key, lambda doc_ids: _rows(self.documents, doc_ids))
            self._narrowed[key] = task
        self._narrowed[key].set_fewshot_seed()  # the first document is the next to be asked about
        return cast(Task, self._narrowed[key])


def views_of(
    name: str,
    task: Task,
    prompting: Prompting,
    *,
    subject: str,
    requested_as: Sequence[str],
    is_for_training: bool,
    refit: int,
) -> dict[str, TaskView]:
    """The `train`, the `test` and the `confirmation` view of a task; only `train` where its documents are for training.

    Train documents of a refit (above 0) come from the task's split `refits`, where it has one.

    Raises:
        UserError: it has no documents to evaluate, needs a kind of scoring that is not supported, or has too few solved
            examples.
    """
    kind, score = _kind_and_score(name, task)
    training = cast(str | None, task.get_config("training_split"))
    evaluated = cast(str | None, task.get_config("test_split") or task.get_config("validation_split"))
    if evaluated is None:
        raise refusal(name, "have a test or a validation split", "neither", "name one in its YAML")
    own: Mapping[str, Any] = cast(Any, task).dataset or {}
    drawn = REFITS if refit and REFITS in own else training
    sources = {
        TRAIN: drawn or evaluated,
        TEST: evaluated,
        CONFIRMATION: CONFIRMATION if CONFIRMATION in own else evaluated,
    }
    if is_for_training:
        sources = {TRAIN: sources[TRAIN]}
    return {
        split: TaskView(
            name=name,
            split=split,
            task=_on_split(task, f"{name}/{split}", source, prompting.num_fewshot),
            kind=kind,
            score=score,
            is_shared=training in (None, evaluated) and len(sources) > 1,
            refit=refit,
            is_chat=prompting.is_chat and kind != "text",
            today=prompting.today,
            subject=subject,
            requested_as=tuple(requested_as),
        )
        for split, source in sources.items()
    }


def arguments(request: Instance) -> tuple[Any, ...]:
    """Prompt and continuation of a request, or prompt and generation settings. (lm-eval types it wrongly.)"""
    return cast(tuple[Any, ...], request.args)


def doc_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document's canonical JSON: sorted keys, no spaces, anything that JSON lacks as text."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Suppress the progress bar that lm-eval draws for every task; log messages still appear."""
    return contextlib.redirect_stderr(io.StringIO())


def refusal(name: str, rule: str, found: str, remedy: str) -> UserError:
    """The error for a task that cannot be used."""
    return UserError(f"A task must {rule}", found=found, where=f"task {name}", remedy=remedy)


def _kind_and_score(name: str, task: Task) -> tuple[str, str]:
    if isinstance(task, TextTask):
        return "text", LOGLIKELIHOOD
    output = str(task.OUTPUT_TYPE)
    if output not in KIND_OF_OUTPUT:
        supported = ", ".join((*KIND_OF_OUTPUT, ROLLING))
        raise refusal(name, f"have an output type of {supported}", output, "remove it from `benchmark.tasks`")
    reported = list(cast(Mapping[str, Any], task.aggregation()))
    known = [metric for metric in SCORES if metric in reported]
    if not known:
        raise refusal(name, f"report {' or '.join(SCORES)}", ", ".join(reported), "add the metric to its YAML")
    return KIND_OF_OUTPUT[output], known[0]


def _on_split(task: Task, key: str, split: str, num_fewshot: int | None) -> Task:
    """A copy of the task that evaluates `split` and goes by the name `key`; documents are shared, settings are not."""
    view = _copy(task)
    if view.fewshot_cfg.split is None and view.fewshot_cfg.samples is None:
        # Spelled out, so that lm-eval leaves a document out of its own few-shot examples.
        view.fewshot_cfg.split = view.config.training_split or view.config.validation_split or view.config.test_split
    view.set_config("task", key)
    view.set_config("test_split", split)
    if num_fewshot is not None and view.config.num_fewshot != 0:
        view.set_config("num_fewshot", num_fewshot)
    if view.config.num_fewshot is None:
        view.set_config("num_fewshot", 0)
    _check_counts(view, key)
    _check_fewshot(view, key)
    return cast(Task, view)


def _check_counts(view: Any, key: str) -> None:
    """lm-eval takes any number, and fails, or asks nothing, when it asks."""
    for name, lowest in (("num_fewshot", 0), ("repeats", 1)):
        number: object = getattr(view.config, name)
        if type(number) is not int or number < lowest:
            rule = f"have a whole number of `{name}`, at least {lowest}"
            raise refusal(key, rule, repr(number), "correct its YAML")


def _check_fewshot(view: Any, key: str) -> None:
    number = view.config.num_fewshot
    available = len(view.sampler.df) if hasattr(view, "sampler") else 0
    needed = number + (1 if view.fewshot_cfg.split == view.config.test_split else 0)
    if number and available < needed:
        remedy = "lower `benchmark.num_fewshot`, or give the task a larger training split"
        raise refusal(key, f"have {needed} documents to draw {number} solved examples from", str(available), remedy)


def _copy(task: Task) -> Any:
    """A copy whose settings and few-shot sampler are its own."""
    copied: Any = copy.copy(task)
    copied._config = copy.copy(copied.config)
    copied.fewshot_cfg = copy.copy(copied.fewshot_cfg)
    if hasattr(copied, "sampler"):
        copied.sampler = copy.copy(copied.sampler)
    return copied


def _rows(documents: Any, doc_ids: Sequence[int]) -> list[Mapping[str, Any]]:
    return (
        documents.select(list(doc_ids)).to_list() if hasattr(documents, "select") else [documents[i] for i in doc_ids]
    )
