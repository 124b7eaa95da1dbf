"""Selection of the documents of a task that become samples: the first ones in the order of their hashes.

The order depends on content only, so a larger count keeps every document of a smaller one, and no document is chosen
twice, neither within a split nor in two. The order of the confirmation split is salted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from pipeline.tasks.task_view import TaskView
from wina_amp.errors import UserError
from wina_amp.names import CONFIRMATION, SPLITS, TEST, TRAIN

Refused = Callable[[TaskView, Sequence[int]], Sequence[int]]
"""Of these documents (ascending doc_ids, prompted together) the ones that cannot be samples."""


@dataclass(frozen=True)
class Selection:
    """The documents of one split, ascending, and how many were passed over because they cannot be samples."""

    doc_ids: list[int]
    left_out: int


def select_documents(
    views: Mapping[str, TaskView], counts: Mapping[str, int], refused: Refused | None = None, *, salt: str = ""
) -> dict[str, Selection]:
    """Select documents of each split.

    A document that is refused is replaced by the next one. Where train and test take from the same documents and there
    are too few, each gets its fraction of all documents.

    Development documents are selected first, then the train documents of the first draw, then those of confirmation,
    then those of a refit: so every refit has the same held-out documents, and no train document of another.

    Args:
        views: the views of one task.
        counts: how many documents of each split are wanted, possibly none; fewer are selected where there are fewer.
        refused: called again after every replacement: few-shot prompts depend on the documents prompted together.
        salt: begins what is hashed for the order of the confirmation split, which nobody can know before the salt.

    Returns: the selection for every split of which documents are wanted.

    Raises:
        UserError: nothing is left for a split.
    """
    for split, count in counts.items():
        if count and split not in views:
            raise _nothing_for(split, next(iter(views.values())), 0)
    refit = views[TRAIN].refit
    selected: dict[str, Selection] = {}
    taken: set[str] = set()
    for split in (TEST, TRAIN, CONFIRMATION, *([TRAIN] if refit else [])):
        wanted = counts.get(split, 0)
        if not wanted:
            continue
        view = views[split]
        ranking = {key: doc_id for key, doc_id in _ranking(view).items() if key not in taken}
        if split == CONFIRMATION:
            ranking = dict(sorted(ranking.items(), key=lambda item: _salted(salt, item[0])))
        if split == TEST and view.is_shared:
            wanted = min(wanted, len(ranking) * wanted // (wanted + counts[TRAIN]))
        if split in selected:  # train documents of the first draw, which are not this refit's
            ranking = dict(islice(ranking.items(), (refit - 1) * wanted, None))
        selected[split] = _select(view, list(ranking.values()), wanted, refused)
        if not selected[split].doc_ids:
            raise _nothing_for(split, view, selected[split].left_out)
        doc_ids = set(selected[split].doc_ids)
        taken |= {key for key, doc_id in ranking.items() if doc_id in doc_ids}
    return {split: selected[split] for split in SPLITS if split in selected}


def _select(view: TaskView, ranking: Sequence[int], wanted: int, refused: Refused | None) -> Selection:
    doc_ids, spare, left_out = list(ranking[:wanted]), iter(ranking[wanted:]), 0
    while refused is not None and doc_ids:
        unusable = set(refused(view, sorted(doc_ids)))
        if not unusable:
            break
        doc_ids = [doc_id for doc_id in doc_ids if doc_id not in unusable] + list(islice(spare, len(unusable)))
        left_out += len(unusable)
    return Selection(sorted(doc_ids), left_out)


def _salted(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}/{key}".encode()).hexdigest()


def _ranking(view: TaskView) -> dict[str, int]:
    """doc_id by hash, in the order of the hashes; of equal documents the first."""
    by_hash: dict[str, int] = {}
    for doc_id, key in enumerate(view.hashes):
        by_hash.setdefault(key, doc_id)
    return dict(sorted(by_hash.items()))


def _nothing_for(split: str, view: TaskView, left_out: int) -> UserError:
    total = len(view.documents) if split == view.split else 0
    reason = f", {left_out} of them left out as too long" if left_out else ""
    return UserError(
        "A task must have documents for every split that is asked for",
        found=f"none for {split} ({total} in the task{reason})",
        where=f"task {view.name}",
        remedy="remove it from `benchmark.tasks` in params.yaml, ask for fewer samples, or give it more documents",
    )
