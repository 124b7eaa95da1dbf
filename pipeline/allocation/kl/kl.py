"""`kl` allocation of one group: at every target one budget for the whole model, spent where answers change least.

1. The start is the uniform allocation. Where it loses no more than `NEGLIGIBLE`, it is the result.
2. Elsewhere gradient descent on the loss (`pipeline/allocation/loss/descent.py`), on mini-batches of all train texts,
   leads to another allocation of the same budget.
3. That is the result, unless the start is better on the validation texts beyond noise.

Targets are independent of each other. Everything that was measured goes through a store, so that an interrupted run
goes on where it stopped.

Block-wise greedy gives every block the same target and measures the error of the block's output. That leaves much
unused: on the reference model `down` of the last blocks can lose 95% of its inputs at no cost, and anything that the
first block loses shows at once (docs/log.md). A start from measured loss curves of single projections was dropped: it
costs blocks x projections x sparsities passes, and its descents end no lower (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.allocation.calibration.cost import Store
from pipeline.allocation.loss import descent

NEGLIGIBLE = 0.05
"""Nats per text: an allocation that loses less is not improved, because no prediction would change."""

STORED_EVERY = 10
"""Steps of a descent between two states that are stored."""

_LOSSES = 2
"""Of a target: start and end."""

TextLosses = Callable[[Float[ndarray, " projections"]], Float[ndarray, " texts"]]
"""Allocation -> the loss of every text, in nats."""


@dataclass(frozen=True)
class Allocated:
    """The allocation of one target.

    Attributes:
        target: weighted mean of `sparsity`.
        sparsity: of every projection.
        loss: of it, in nats per validation text.
    """

    target: float
    sparsity: Float[ndarray, " projections"]
    loss: float


def allocate(
    target: float,
    fraction: Float[ndarray, " projections"],
    gradients: descent.LossGradients,
    validation: TextLosses,
    store: Store,
    *,
    steps: int,
    rate: float,
    advance: Callable[[int], object] = lambda _done: None,
) -> Allocated:
    """Allocate one group at one target.

    Args:
        target: model-wide sparsity, in (0, 1).
        fraction: weights of every projection over those of all.
        gradients: (allocation, number of the step) -> derivative of the loss by every sparsity.
        validation: losses of the texts that start and end are compared on.
        store: empty, or the one of an earlier run with the same arguments.
        steps: of the descent; 0 takes the uniform allocation as it is.
        rate: see `descent.descend`.
        advance: called with the number of losses computed and steps taken since the last call.

    Guarantee: the budget is met within 1e-9, and the mean validation loss is above that of the uniform allocation by
    one standard error of the paired difference at most; the same arguments give the same allocation, interrupted or
    not.
    """
    name = f"target-{target:g}"
    start = np.full(len(fraction), target)
    start_losses = _stored_losses(validation, start, store, f"{name}-start")
    advance(1)
    if steps == 0 or start_losses.mean() <= NEGLIGIBLE:
        advance(steps + 1)
        return Allocated(target, start, float(start_losses.mean()))
    end = stored_descent(start, fraction, target, gradients, store, name, steps=steps, rate=rate, advance=advance)
    end_losses = _stored_losses(validation, end, store, f"{name}-end")
    advance(1)
    if is_clearly_lower(start_losses, end_losses):
        return Allocated(target, start, float(start_losses.mean()))
    return Allocated(target, end, float(end_losses.mean()))


def is_clearly_lower(losses: Float[ndarray, " texts"], others: Float[ndarray, " texts"]) -> bool:
    """Whether the mean of `losses` is below that of `others` by more than a standard error of their paired
    difference."""
    difference = others - losses
    return len(difference) > 1 and bool(difference.mean() > difference.std(ddof=1) / np.sqrt(len(difference)))


def stored_descent(
    start: Float[ndarray, " projections"],
    fraction: Float[ndarray, " projections"],
    target: float,
    gradients: descent.LossGradients,
    store: Store,
    name: str,
    *,
    steps: int,
    rate: float,
    advance: Callable[[int], object],
) -> Float[ndarray, " projections"]:
    """The end of a descent from `start`; states are stored under `name`, the last one for good."""
    stored = store.get(name)
    state = descent.start(start) if stored is None else descent.State.from_json(stored)
    advance(state.step)
    for following in descent.descend(state, fraction, target, gradients, steps=steps, rate=rate):
        state = following
        advance(1)
        if state.step % STORED_EVERY == 0 or state.step == steps:
            store.put(name, state.to_json())
    return descent.result(state, fraction, target)


def work(targets: int, steps: int) -> int:
    """Losses and steps of one group, as `advance` counts them."""
    return targets * (steps + _LOSSES)


def _stored_losses(
    validation: TextLosses, sparsity: Float[ndarray, " projections"], store: Store, name: str
) -> Float[ndarray, " texts"]:
    stored = store.get(name)
    if stored is None:
        stored = validation(sparsity).tolist()
        store.put(name, stored)
    return np.array(stored)
