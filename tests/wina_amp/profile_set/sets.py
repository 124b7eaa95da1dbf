"""Profile sets of tiny random models: thresholds that matter, a router that splits prompts, made-up figures."""

from __future__ import annotations

import torch

from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.profile_set.description import Checkpoint, Description, Estimate, Group, Measured
from wina_amp.profile_set.identity import shapes_of, sketch
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.routing.router import Router

TARGETS = (0.25, 0.5)
DENSE_PREFIX = 2
FACTS = {
    None: None,
    "embedding": {"router": "embedding"},
    "scores": {"router": "scores", "blocks": "1", "dim": "3", "seed": "5"},
}
FEATURES = {"embedding": 32, "scores": 4 * 3}
"""Hidden size of the tiny models; sites of a block times `dim`."""


def description(loaded: LoadedModel, groups: int, kind: str | None, transform: str = "none") -> Description:
    """What `profile_set` is."""
    shapes = shapes_of(loaded.model)
    half = Estimate(0.5, 0.25, 0.75)
    return Description(
        name="made_up",
        criterion="wina",
        mask="threshold",
        scheme="global" if groups == 1 else "activation",
        allocation="uniform",
        dense_prefix=DENSE_PREFIX,
        targets=TARGETS,
        groups=tuple(Group(f"group {number}", 10 + number) for number in range(groups)),
        router=FACTS[kind],
        model=Checkpoint("0" * 64, None, None, "float32", transform, shapes.family, shapes.blocks, shapes.projections),
        calibration=("pick", "write"),
        evaluated=("pick",),
        measured=(Measured(7, half, half, half, half), Measured(7, None, None, half, half)),
        confidence=0.95,
        versions={"torch": "2"},
        tensors="",
    )


def profile_set(loaded: LoadedModel, kind: str | None = "embedding", transform: str = "none") -> ProfileSet:
    """Two groups and a router of this kind, or one group where it is None; thresholds double with the target."""
    draw = torch.Generator().manual_seed(3)
    groups = 1 if kind is None else 2
    thresholds = torch.rand(1, groups, 2, len(projections(loaded.model)) // 2, generator=draw) * 0.25
    router = None
    if kind is not None:
        weight = torch.randn(2, FEATURES[kind], generator=draw)
        router = Router(weight, torch.zeros(2))
    both = torch.cat([thresholds, 2 * thresholds])
    return ProfileSet(description(loaded, groups, kind, transform), both, sketch(loaded.model), router)
