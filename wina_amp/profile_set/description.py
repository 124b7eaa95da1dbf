"""profile_set.json: the description of a profile set, everything but its tensors.

The file is written with sorted keys and no date, so the same set has the same bytes. Reading checks that every field is
there and of its type; `wina_amp/profile_set/profile_set.py` checks the fields against the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wina_amp.errors import UserError
from wina_amp.models.families import PROJECTION_ORDER

FORMAT = 2
"""Raised whenever a reader of the old files would go wrong."""


@dataclass(frozen=True)
class Group:
    """One group: its name, and the number of calibration samples that its profile was made from, where it is known."""

    name: str
    samples: int | None


@dataclass(frozen=True)
class Checkpoint:
    """The model that a profile set was made for.

    Attributes:
        digest: SHA-256 of names and contents of its files (`models.manifest.Manifest.digest`); None for a model
            in memory.
        repository: on the hub; None for a folder.
        commit: of the repository; None for a folder.
        dtype: dtype that its weights were loaded in.
        transform: `none`, or how its inputs are rotated (`model.transform`).
        family: `model_type` of its config.
        blocks: number of decoder layers.
        projections: name -> rows and columns of its weight, in canonical order.
    """

    digest: str | None
    repository: str | None
    commit: str | None
    dtype: str
    transform: str
    family: str
    blocks: int
    projections: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Estimate:
    """A mean over test samples, and its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """Measurements of a method at one target, on held-out samples.

    Attributes:
        samples: number of held-out samples.
        accuracy: mean score, 0 to 1; None where all samples are text.
        loss: accuracy of the dense model minus `accuracy`, paired; None where all samples are text.
        sparsity: fraction of all projections' weights that eligible tokens skip.
        compute: fraction of the dense model's FLOPs that remain, scoring and router included.
    """

    samples: int
    accuracy: Estimate | None
    loss: Estimate | None
    sparsity: Estimate
    compute: Estimate


@dataclass(frozen=True)
class Description:
    """All of profile_set.json.

    Attributes:
        name: the method's, in params.yaml.
        criterion: how features are scored (`wina_amp.scoring.criteria`).
        mask: a kind of mask (`wina_amp.masks.kinds`); sparse decoding needs `threshold`.
        scheme: how samples were assigned to groups.
        allocation: how the target sparsity was allocated to blocks and projections.
        dense_prefix: see `eligibility.eligible`.
        targets: model-wide target sparsities, ascending.
        groups: in the order of their numbers.
        router: the facts about the router, with its kind as `router`; None where there is one group.
        model: the checkpoint.
        calibration: tasks whose train samples the profiles were made from.
        evaluated: tasks whose held-out samples were measured.
        measured: one for every target; None where no held-out sample was evaluated.
        confidence: coverage of the intervals.
        versions: of the libraries that made it.
        tensors: SHA-256 of profiles.safetensors.
    """

    name: str
    criterion: str
    mask: str
    scheme: str
    allocation: str
    dense_prefix: int | float
    targets: tuple[float, ...]
    groups: tuple[Group, ...]
    router: dict[str, str] | None
    model: Checkpoint
    calibration: tuple[str, ...]
    evaluated: tuple[str, ...]
    measured: tuple[Measured | None, ...]
    confidence: float
    versions: dict[str, str]
    tensors: str


def dumps(description: Description) -> str:
    """The text of the file."""
    return json.dumps({"format": FORMAT, **asdict(description)}, indent=2, sort_keys=True, allow_nan=False) + "\n"


def loads(text: str, where: str) -> Description:
    """The description that `dumps` wrote; errors name `where`.

    Raises:
        UserError: not JSON, of another format, or without a field that is needed.
    """
    try:
        values = json.loads(text)
        version = values["format"]
        if version == FORMAT:
            return _description(values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        must = "The description of a profile set must be complete"
        raise damaged(must, f"{type(error).__name__}: {error}", where) from error
    raise UserError(
        f"The profile set must be of format {FORMAT}",
        found=f"format {version}",
        where=where,
        remedy="export it again with this version of the code, or use the version that wrote it",
    )


def damaged(must: str, actual: str, where: object) -> UserError:
    """The error for a folder whose content is not what it must be."""
    remedy = "copy the folder again from where it was exported, or export it again"
    return UserError(must, found=actual.splitlines()[0], where=where, remedy=remedy)


def _description(values: Mapping[str, Any]) -> Description:
    model = dict(values["model"])
    shapes = {str(name): (int(rows), int(columns)) for name, (rows, columns) in model.pop("projections").items()}
    order = [name for name in PROJECTION_ORDER if name in shapes]
    router = values["router"]
    if len(values["measured"]) != len(values["targets"]):
        raise ValueError(f"{len(values['measured'])} measurements of {len(values['targets'])} targets")
    return Description(
        name=str(values["name"]),
        criterion=str(values["criterion"]),
        mask=str(values["mask"]),
        scheme=str(values["scheme"]),
        allocation=str(values["allocation"]),
        dense_prefix=values["dense_prefix"],
        targets=tuple(float(target) for target in values["targets"]),
        groups=tuple(_group(group) for group in values["groups"]),
        router=None if router is None else {str(key): str(value) for key, value in router.items()},
        model=Checkpoint(**model, projections={name: shapes[name] for name in order}),
        calibration=tuple(str(task) for task in values["calibration"]),
        evaluated=tuple(str(task) for task in values["evaluated"]),
        measured=tuple(None if row is None else _measured(row) for row in values["measured"]),
        confidence=float(values["confidence"]),
        versions={str(key): str(value) for key, value in values["versions"].items()},
        tensors=str(values["tensors"]),
    )


def _group(values: Mapping[str, Any]) -> Group:
    samples = values["samples"]
    return Group(str(values["name"]), None if samples is None else int(samples))


def _measured(values: Mapping[str, Any]) -> Measured:
    def estimate(name: str) -> Estimate:
        return Estimate(**{end: float(number) for end, number in values[name].items()})

    has_score = values["accuracy"] is not None
    return Measured(
        samples=int(values["samples"]),
        accuracy=estimate("accuracy") if has_score else None,
        loss=estimate("loss") if has_score else None,
        sparsity=estimate("sparsity"),
        compute=estimate("compute"),
    )
