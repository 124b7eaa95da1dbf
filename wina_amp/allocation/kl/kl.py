"""`kl` allocation of one group: every target's budget is one budget for the whole model, spent where predictions change
least.

1. Every target goes down the gradient of the loss (`wina_amp/allocation/loss/descent.py`) on mini-batches of the train
   texts, from equal sparsities at three quarters of the target, tightened to it over the first half of the steps.
2. Where it ended, the mean of that with the ends of the neighbouring targets, and equal sparsities are compared on more
   texts, and the best is taken.

The mean takes out noise. A changed mask of an early block changes everything behind it a little, so losses are rough,
and a descent on mini-batches ends anywhere in a wide valley. Targets descend independently of each other, and what they
agree on is the valley: logits of neighbouring targets differ by little more than two descents of one target do.

A start from measured loss curves of single projections cost nine losses a projection, hours on a large model. Many
small steps from equal sparsities end about as low (docs/log.md).

Block-wise greedy gives every block the same target and measures the error of the block's output. What that leaves
unused is large: on the reference model `down` of the last blocks can lose 95% of its inputs at no cost, and anything
that the first block loses shows at once (docs/log.md).

Everything that was measured goes through a store, so that an interrupted run goes on where it stopped. A stored value
is named by the allocation that it was measured on: the mean of another set of targets is another allocation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.calibration.cost import Store
from wina_amp.allocation.loss import descent

LOOSEST = 0.75
"""Budget of the first step of a descent, over the target. Looser, gradients are mostly noise: at 25% on the reference
model those of 400 texts are negative for 10 of 35 projections (docs/log.md)."""

_CHOICES = 3
"""Of `choose`: end, mean and equal sparsities."""

STORED_EVERY = 10
"""Steps of a descent between two states that are stored."""


TextLosses = Callable[[Float[ndarray, " projections"]], Float[ndarray, " texts"]]
"""Allocation -> the loss of every text, in nats."""


@dataclass(frozen=True)
class Allocated:
    """The allocation of one target.

    Attributes:
        target: cost-weighted mean of `sparsity`.
        sparsity: of every projection.
        loss: of it, in nats per text of the validation texts.
    """

    target: float
    sparsity: Float[ndarray, " projections"]
    loss: float


@dataclass(frozen=True)
class Group:
    """A group to allocate.

    Attributes:
        validation: losses of texts on which allocations are compared.
        gradients: (allocation, number of the step) -> derivative of the loss by every sparsity.
        fraction: weights of every projection over those of all.
        steps: of every descent.
        rate: see `descent.descend`.
    """

    validation: TextLosses
    gradients: descent.LossGradients
    fraction: Float[ndarray, " projections"]
    steps: int
    rate: float


def kl(
    group: Group, targets: Sequence[float], store: Store, advance: Callable[[int], object] = lambda _done: None
) -> Iterator[Allocated]:
    """Allocate one group at every target, in ascending order.

    Args:
        group: losses and gradients.
        targets: cost-weighted mean sparsities, in (0, 1).
        store: empty, or what an earlier run has left whose arguments were the same but for the targets.
        advance: called with the number of losses computed and steps taken since the last call.

    Guarantee: every allocation meets its budget within 1e-9, and its mean loss on the validation texts is not above
    that of equal sparsities; the same arguments give the same allocations, interrupted or not.
    """
    ends = {target: end_at(group, target, store, advance) for target in sorted(targets)}
    for target in ends:
        yield choose(group, ends, target, store, advance)


def end_at(
    group: Group, target: float, store: Store, advance: Callable[[int], object] = lambda _done: None
) -> Float[ndarray, " projections"]:
    """The end of the descent of one target. Targets do not depend on each other. For arguments see `kl`."""
    return stored_descent(
        np.full(len(group.fraction), target),
        group.fraction,
        target,
        group.gradients,
        store,
        f"target-{target}",
        steps=group.steps,
        rate=group.rate,
        loosest=LOOSEST * target,
        advance=advance,
    )


def choose(
    group: Group,
    ends: Mapping[float, Float[ndarray, " projections"]],
    target: float,
    store: Store,
    advance: Callable[[int], object] = lambda _done: None,
) -> Allocated:
    """The end of a descent, its mean with the ends of its two neighbours, or equal sparsities, by the loss.

    Args:
        ends: of the descents of all targets. The lowest and the highest target have one neighbour, and no mean.
        target: which of them.
        group, store, advance: see `kl`.
    """
    choices = [ends[target], np.full(len(group.fraction), target)]
    ordered = sorted(ends)
    if ordered[0] < target < ordered[-1]:
        around = [descent.logits(ends[other]) for other in ordered[ordered.index(target) - 1 :][:3]]
        choices.append(descent.allocation(np.mean(around, axis=0), group.fraction, target))
    losses = [_stored_losses(group.validation, sparsity, store, f"compared-{target}").mean() for sparsity in choices]
    best = int(np.argmin(losses))
    advance(_CHOICES)
    return Allocated(target, choices[best], float(losses[best]))


def named(name: str, *allocations: Float[ndarray, " projections"]) -> str:
    """The name of a value that was measured on these allocations, and on no others."""
    return f"{name}-{hashlib.sha256(np.stack(allocations).tobytes()).hexdigest()[:16]}"


def _stored_losses(
    validation: TextLosses, sparsity: Float[ndarray, " projections"], store: Store, name: str
) -> Float[ndarray, " texts"]:
    name = named(name, sparsity)
    stored = store.get(name)
    if stored is None:
        stored = validation(sparsity).tolist()
        store.put(name, stored)
    return np.array(stored)


def stored_descent(
    first: Float[ndarray, " projections"],
    fraction: Float[ndarray, " projections"],
    target: float,
    gradients: descent.LossGradients,
    store: Store,
    name: str,
    *,
    steps: int,
    rate: float,
    loosest: float | None = None,
    advance: Callable[[int], object] = lambda _done: None,
) -> Float[ndarray, " projections"]:
    """The end of `steps` steps from `first` (`descent.descend`); states are stored under `name` and start, the last
    one for good."""
    name = named(name, first)
    stored = store.get(name)
    state = descent.start(first) if stored is None else descent.State.from_json(stored)
    advance(state.step)
    for following in descent.descend(state, fraction, target, gradients, steps=steps, rate=rate, loosest=loosest):
        state = following
        advance(1)
        if state.step % STORED_EVERY == 0 or state.step == steps:
            store.put(name, state.to_json())
    return descent.result(state, fraction, target)


class Work(NamedTuple):
    """The work of `kl` on one group, as `advance` counts it; the sum is all of it.

    Attributes:
        steps: of descents, each on a mini-batch.
        choices: losses on the validation texts.
    """

    steps: int
    choices: int


def work(targets: int, steps: int) -> Work:
    """The most that `kl` does for one group: the lowest and the highest target have no mean to compare."""
    return Work(targets * steps, targets * _CHOICES)
