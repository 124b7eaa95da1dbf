"""The description of a profile set that was made of a live model, of which nothing was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from wina_amp.names import ACTIVATION, GLOBAL, NO_TRANSFORM, THRESHOLD
from wina_amp.profile_set.description import Checkpoint, Description, Group
from wina_amp.profile_set.identity import made_with, shapes_of

_CONFIDENCE = 0.95
"""Of intervals, of which there are none."""


def described(
    model: PreTrainedModel,
    *,
    name: str,
    criterion: str,
    allocation: str,
    dense_prefix: int | float,
    targets: Sequence[float],
    groups: Sequence[Group],
    router: Mapping[str, str] | None,
    data: str,
) -> Description:
    """The description; `router` are the facts of one, and `data` is what to call the calibration data."""
    return Description(
        name=name,
        criterion=criterion,
        mask=THRESHOLD,
        scheme=GLOBAL if router is None else ACTIVATION,
        allocation=allocation,
        dense_prefix=dense_prefix,
        targets=tuple(targets),
        groups=tuple(groups),
        router=None if router is None else dict(router),
        model=_checkpoint(model),
        calibration=(data,),
        evaluated=(),
        measured=(None,) * len(targets),
        confidence=_CONFIDENCE,
        versions=made_with(),
        tensors="",
    )


def _checkpoint(model: PreTrainedModel) -> Checkpoint:
    """The model in memory: it has no files, and their digest is not known. The hub's commit is, where it came from."""
    config: Any = model.config
    commit: str | None = getattr(config, "_commit_hash", None)
    shapes = shapes_of(model)
    return Checkpoint(
        digest=None,
        repository=None if commit is None else str(config.name_or_path),
        commit=commit,
        dtype=str(model.dtype).removeprefix("torch."),
        transform=NO_TRANSFORM,
        family=shapes.family,
        blocks=shapes.blocks,
        projections=shapes.projections,
    )
