"""lm-eval tasks, loaded so that either split can be evaluated, and the documents that are chosen from them.

lm-eval evaluates the test (or validation) split of a task. Profiles are built on the training split and evaluated on
both, so each task is loaded once and then viewed twice: `train` evaluates its training documents, `test` the ones that
lm-eval would. A task without a training split lends documents of its test split; chosen documents are always disjoint.
Group and tag names (`mmlu`) stand for all their tasks.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from pipeline.errors import UserError

SCORES = ("acc", "exact_match")
"""The per-sample metrics that are understood, the first that a task reports is used; both are 0 or 1 per sample."""

KIND_OF_OUTPUT = {"multiple_choice": "choice", "loglikelihood": "choice", "generate_until": "generation"}

_FEWSHOT_SEED = 1234
"""lm-eval's own default, so that few-shot prompts are those of its command line."""


@dataclass(frozen=True)
class TaskView:
    """One split of a task.

    Attributes:
        name: lm-eval's name of the task.
        split: `train` or `test`.
        task: the task, set to evaluate this split; its own name is `key`.
        kind: `choice` or `generation`.
        score: the metric in `SCORES` that it reports.
        is_shared: whether both splits are taken from the same documents.
    """

    name: str
    split: str
    task: Task
    kind: str
    score: str
    is_shared: bool
    _chosen: dict[tuple[int, ...], Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def key(self) -> str:
        """`name/split`, the first two parts of a sample_id."""
        return f"{self.name}/{self.split}"

    @property
    def documents(self) -> Sequence[Mapping[str, Any]]:
        """All documents of the split, in the order in which doc_id counts them."""
        return cast(Sequence[Mapping[str, Any]], self.task.eval_docs)

    def only(self, doc_ids: Sequence[int]) -> Task:
        """The task with just these documents, numbered from 0 in the given order; ready to be evaluated once more.

        Few-shot examples are drawn from the start again: they are drawn one document after the other, so only requests
        made from the start, for the same documents, have the same prompts. Documents become a plain list, because
        access to a data set row by row costs more than everything else lm-eval does with a document.
        """
        chosen = tuple(doc_ids)
        if chosen not in self._chosen:
            task = _copy(self.task)
            task.dataset = {task.config.test_split: _rows(self.documents, chosen)}
            task.set_config("process_docs", None)  # it has been applied to them already
            self._chosen[chosen] = task
        self._chosen[chosen].set_fewshot_seed(_FEWSHOT_SEED)
        return cast(Task, self._chosen[chosen])


def load_tasks(include: str | Path, names: Sequence[str]) -> dict[str, dict[str, TaskView]]:
    """Load lm-eval tasks by name.

    Args:
        include: folder of task YAMLs; lm-eval's own tasks are only looked at for names that are not found there
            (listing them takes many seconds).
        names: tasks, groups or tags.

    Returns: for every task, in order, its `train` and its `test` view.

    Raises:
        UserError: missing folder; unknown name; a task that cannot be loaded, has no documents to evaluate, or needs a
            kind of scoring that is not supported.
    """
    datasets.disable_progress_bars()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of a missing default for every task
    manager = _manager(Path(include), names)
    loaded: dict[str, Task] = {}
    for name in names:
        loaded |= _load(manager, name)
    return {name: _views(name, task) for name, task in loaded.items()}


def choose(views: Mapping[str, TaskView], counts: Mapping[str, int]) -> dict[str, list[int]]:
    """The documents of each split that become samples: the first ones in the order of their hashes.

    The order depends on content only, so a larger count keeps every document of a smaller one. No document is chosen
    twice, neither within a split nor in both: where both splits lend from the same documents and there are too few,
    each gets its share.

    Args:
        views: the `train` and `test` view of one task.
        counts: how many documents of each split are wanted; fewer are returned where there are fewer.

    Returns: ascending doc_ids for every split.

    Raises:
        UserError: nothing is left for a split.
    """
    test_hashes = _first_of(views["test"])
    wanted = counts["test"]
    if views["test"].is_shared:
        total = counts["train"] + counts["test"]
        wanted = min(wanted, len(test_hashes) * counts["test"] // total)
    test = dict(list(test_hashes.items())[:wanted])
    train_hashes = {key: doc_id for key, doc_id in _first_of(views["train"]).items() if key not in test}
    train = dict(list(train_hashes.items())[: counts["train"]])
    for split, chosen in (("train", train), ("test", test)):
        if not chosen:
            raise UserError(
                "A task must have documents for both splits",
                found=f"none for {split} ({len(views[split].documents)} in the task)",
                where=f"task {views[split].name}",
                remedy="remove it from `benchmark.tasks` in params.yaml, or give it a training split",
            )
    return {"train": sorted(train.values()), "test": sorted(test.values())}


def arguments(request: Instance) -> tuple[Any, ...]:
    """What a request asks: prompt and continuation, or prompt and generation settings. (lm-eval types it wrongly.)"""
    return cast(tuple[Any, ...], request.args)


def doc_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document's canonical JSON: sorted keys, no spaces, anything that JSON lacks as text."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Without the progress bar that lm-eval draws for every task; log messages still appear."""
    return contextlib.redirect_stderr(io.StringIO())


def _first_of(view: TaskView) -> dict[str, int]:
    """doc_id by hash, in the order of the hashes; of equal documents the first."""
    by_hash: dict[str, int] = {}
    for doc_id, document in enumerate(view.documents):
        by_hash.setdefault(doc_hash(document), doc_id)
    return dict(sorted(by_hash.items()))


def _manager(include: Path, names: Iterable[str]) -> TaskManager:
    if not include.is_dir():
        raise UserError(
            "`benchmark.include` must be a folder of lm-eval task YAMLs",
            found="no such folder",
            where=str(include),
            remedy="correct `benchmark.include` in params.yaml, or restore the folder with `git checkout`",
        )
    manager = TaskManager(include_path=str(include), include_defaults=False)
    if set(names) <= set(manager.all_tasks):
        return manager
    return TaskManager(include_path=str(include), include_defaults=True)


def _load(manager: TaskManager, name: str) -> dict[str, Task]:
    if name not in manager.all_tasks:
        near = ", ".join(get_close_matches(name, manager.all_tasks, n=3))
        raise UserError(
            f"`benchmark.tasks` must name tasks of `benchmark.include` or of lm-eval ({len(manager.all_tasks)} known)",
            found=repr(name),
            where="`benchmark.tasks` in params.yaml",
            remedy=f"{f'did you mean {near}? ' if near else ''}`lm-eval ls tasks` lists lm-eval's own",
        )
    try:
        return dict(manager.load([name])["tasks"])
    except UserError:
        raise
    except IndexError as error:  # lm-eval looks at the first document of every task it loads
        raise _refusal(name, "have at least one document", "none", "remove it from `benchmark.tasks`") from error
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise _refusal(name, "be loadable", found, "correct its YAML or its data") from error


def _views(name: str, task: Task) -> dict[str, TaskView]:
    output = str(task.OUTPUT_TYPE)
    if output not in KIND_OF_OUTPUT:
        supported = ", ".join(KIND_OF_OUTPUT)
        raise _refusal(name, f"have an output type of {supported}", output, "remove it from `benchmark.tasks`")
    reported = list(cast(Mapping[str, Any], task.aggregation()))
    known = [metric for metric in SCORES if metric in reported]
    if not known:
        raise _refusal(name, f"report {' or '.join(SCORES)}", ", ".join(reported), "add the metric to its YAML")
    training = cast(str | None, task.get_config("training_split"))
    evaluated = cast(str | None, task.get_config("test_split") or task.get_config("validation_split"))
    if evaluated is None:
        raise _refusal(name, "have a test or a validation split", "neither", "name one in its YAML")
    kind, is_shared = KIND_OF_OUTPUT[output], training in (None, evaluated)
    return {
        split: TaskView(name, split, _on_split(task, f"{name}/{split}", source), kind, known[0], is_shared)
        for split, source in (("train", training or evaluated), ("test", evaluated))
    }


def _on_split(task: Task, key: str, split: str) -> Task:
    """A copy of the task that evaluates `split` and goes by the name `key`; documents are shared, settings are not."""
    view = _copy(task)
    if view.fewshot_cfg.split is None and view.has_training_docs():
        # Spelled out, so that lm-eval leaves a document out of its own few-shot examples.
        view.fewshot_cfg.split = view.config.training_split
    view.set_config("task", key)
    view.set_config("test_split", split)
    if view.config.num_fewshot is None:
        view.set_config("num_fewshot", 0)
    return cast(Task, view)


def _copy(task: Task) -> Any:
    """A copy whose settings and few-shot sampler are its own."""
    twin: Any = copy.copy(task)
    twin._config = copy.copy(twin.config)
    twin.fewshot_cfg = copy.copy(twin.fewshot_cfg)
    if hasattr(twin, "sampler"):
        twin.sampler = copy.copy(twin.sampler)
    return twin


def _rows(documents: Any, chosen: Sequence[int]) -> list[Mapping[str, Any]]:
    return documents.select(list(chosen)).to_list() if hasattr(documents, "select") else [documents[i] for i in chosen]


def _refusal(name: str, rule: str, found: str, remedy: str) -> UserError:
    return UserError(f"A task must {rule}", found=found, where=f"task {name}", remedy=remedy)
