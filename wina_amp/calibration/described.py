"""The description of a calibrated profile set: where it comes from, and that nothing was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from wina_amp.calibration.allocations import Calibration
from wina_amp.calibration.observing import FACTS
from wina_amp.names import ACTIVATION, GLOBAL, NO_TRANSFORM, THRESHOLD
from wina_amp.profile_set.description import Checkpoint, Description, Group
from wina_amp.profile_set.identity import made_with, shapes_of

CONFIDENCE = 0.95
"""Of intervals, of which there are none."""


def described(
    calibration: Calibration, *, name: str, allocation: str, group_sizes: Sequence[int], is_routed: bool, data: str
) -> Description:
    """The description.

    Args:
        calibration: model, criterion, targets and dense prefix.
        name: of the set.
        allocation: how targets were allocated.
        group_sizes: samples of every group.
        is_routed: whether there is a router; without one there is one group.
        data: what to call the calibration data.
    """
    groups = [Group(f"group {number}", size) for number, size in enumerate(group_sizes)]
    return Description(
        name=name,
        criterion=calibration.criterion,
        mask=THRESHOLD,
        scheme=ACTIVATION if is_routed else GLOBAL,
        allocation=allocation,
        dense_prefix=calibration.dense_prefix,
        targets=tuple(calibration.targets),
        groups=tuple(groups) if is_routed else (Group("all samples", group_sizes[0]),),
        router=dict(FACTS) if is_routed else None,
        model=checkpoint(calibration.loaded.model),
        calibration=(data,),
        evaluated=(),
        measured=(None,) * len(calibration.targets),
        confidence=CONFIDENCE,
        versions=made_with(),
        tensors="",
    )


def checkpoint(model: PreTrainedModel) -> Checkpoint:
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
