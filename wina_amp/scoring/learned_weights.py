"""Learned feature weights, kept on the model whose features they weigh.

The criterion `learned` has no formula: its weights are a table (`feature_weights`), or tensors of a profile set. Both
are put on the modules themselves, as buffers that no checkpoint stores, so that code that has the model has the
weights, on the right device, and no function between needs to pass them on.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float32
from torch import Tensor

from wina_amp.errors import UserError
from wina_amp.models.projections import Projection, projections

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Weights = Mapping[tuple[int, str], Float32[Tensor, " in"]]
"""(block, projection) -> factor of every input feature."""

_BUFFER = "learned_feature_weights"


def attach(model: PreTrainedModel, weights: Weights) -> None:
    """Put weights on every projection, float32, replacing those that are there.

    Raises:
        UserError: a projection without weights, weights of another length, or numbers that are negative or
            not finite.
    """
    for projection in projections(model):
        _attach_one(projection, weights)


def detach(model: PreTrainedModel) -> None:
    """Take the weights off every projection."""
    for projection in projections(model):
        if hasattr(projection.module, _BUFFER):
            delattr(projection.module, _BUFFER)


@contextmanager
def attached(model: PreTrainedModel, weights: Weights) -> Generator[None]:
    """Weights on the model while the context lasts; what was there before is back afterwards."""
    before = {projection.module: getattr(projection.module, _BUFFER, None) for projection in projections(model)}
    attach(model, weights)
    try:
        yield
    finally:
        detach(model)
        for module, kept in before.items():
            if kept is not None:
                module.register_buffer(_BUFFER, kept, persistent=False)


def learned(projection: Projection) -> Float32[Tensor, " in"]:
    """The weights on a projection, on its device.

    Raises:
        UserError: there are none.
    """
    weights = getattr(projection.module, _BUFFER, None)
    if weights is None:
        raise UserError(
            "A model whose features are scored by `learned` must have its learned weights",
            found="none",
            where=f"block {projection.block}, projection {projection.name}",
            remedy="mask with a profile set, which brings them; in the study list `learned` in `capture.criteria`",
        )
    return weights


def _attach_one(projection: Projection, weights: Weights) -> None:
    factors = weights.get((projection.block, projection.name))
    wrong = _wrong(factors, projection.in_features)
    if factors is None or wrong:
        raise UserError(
            f"Learned weights must be {projection.in_features} numbers that are not negative",
            found=wrong,
            where=f"block {projection.block}, projection {projection.name}",
            remedy="take a profile set that was made for this model; in the study `dvc repro` makes its weights",
        )
    on_device = factors.to(projection.module.weight.device, torch.float32)
    projection.module.register_buffer(_BUFFER, on_device, persistent=False)


def _wrong(factors: Tensor | None, length: int) -> str:
    """The reason why these are no weights; empty if they are."""
    if factors is None:
        return "none"
    if factors.shape != (length,):
        return f"a tensor of shape {list(factors.shape)}"
    return "" if bool((torch.isfinite(factors) & (factors >= 0)).all()) else "numbers that are negative, or not finite"
