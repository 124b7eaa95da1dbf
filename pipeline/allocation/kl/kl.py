"""`kl` allocation of one group: every target's budget is one budget for the whole model, spent where predictions change
least.

1. The loss (`pipeline/allocation/loss/divergence.py`) is measured with one projection masked at a time, at every level.
2. Those curves give an allocation for every target (`pipeline/allocation/kl/knapsack.py`).
3. Each that loses more than `NEGLIGIBLE` goes down the gradient of the loss (`pipeline/allocation/loss/descent.py`), on
   mini-batches of all train texts.
4. Where it ended and the mean of that with the ends of the neighbouring targets are compared on many texts, and the
   better one is taken; the start only if it is better than that beyond noise.

The texts of the curves must not choose between start and end: the start was made on them, and has been taken for better
than ends that lose an eighth less on other texts (docs/log.md). The mean takes out noise. A changed mask of an early
block changes everything behind it a little, so losses are rough, and a descent on mini-batches ends anywhere in a wide
valley. Targets descend independently of each other, and what they agree on is the valley: logits of neighbouring
targets differ by little more than two descents of one target do.

Block-wise greedy gives every block the same target and measures the error of the block's output. What that leaves
unused is large: on the reference model `down` of the last blocks can lose 95% of its inputs at no cost, and anything
that the first block loses shows at once (docs/log.md).

Everything that was measured goes through a store, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.allocation.kl.knapsack import allocate
from pipeline.allocation.loss import descent

LEVELS = (0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Sparsities at which the loss of a single projection is measured; between them curves are straight."""

NEGLIGIBLE = 0.01
"""Nats per place: an allocation that loses less is not improved, because no prediction would notice."""

_CHOICES = 3
"""Of `settled`: end, mean and start."""

KEPT_EVERY = 10
"""Steps of a descent between two states that are stored."""


class Objective(Protocol):
    """What is allocated for; `divergence.Divergence` is one."""

    @property
    def costs(self) -> list[int]:
        """Weights of every projection."""
        ...

    def loss(self, sparsity: Float[ndarray, " projections"]) -> float:
        """The loss of an allocation."""
        ...


Judge = Callable[[Float[ndarray, " projections"]], Float[ndarray, " texts"]]
"""Allocation -> the loss of every text, in nats."""


class Store(Protocol):
    """Keeps JSON values by name, over interruptions."""

    def get(self, name: str) -> Any:
        """The value, or None."""
        ...

    def put(self, name: str, value: Any) -> None:
        """Keep a value, in place of an earlier one."""
        ...


@dataclass(frozen=True)
class Descent:
    """Where the descent of one target has led.

    Attributes:
        target: cost-weighted mean of both allocations.
        start: sparsity of every projection in the knapsack's allocation.
        end: of the descent; the start itself where there was none.
    """

    target: float
    start: Float[ndarray, " projections"]
    end: Float[ndarray, " projections"]

    @property
    def is_moved(self) -> bool:
        """Whether there was a descent."""
        return not np.array_equal(self.start, self.end)


@dataclass(frozen=True)
class Found:
    """The allocation of one target.

    Attributes:
        target: cost-weighted mean of `sparsity`.
        sparsity: of every projection.
        loss: of it, in nats per text of the judge.
    """

    target: float
    sparsity: Float[ndarray, " projections"]
    loss: float


def kl(
    objective: Objective,
    judge: Judge,
    gradients: descent.LossGradients,
    targets: Sequence[float],
    store: Store,
    *,
    steps: int,
    rate: float,
    advance: Callable[[int], object] = lambda _done: None,
) -> Iterator[Found]:
    """Allocate one group at every target, in ascending order.

    Args:
        objective: the loss, and what projections cost.
        judge: allocation -> the loss of every text, in nats, of more texts: what the last comparison is made on.
        gradients: (allocation, number of the step) -> derivative of the loss by every sparsity.
        targets: cost-weighted mean sparsities, in (0, 1).
        store: empty, or what an earlier run with the same arguments has left.
        steps: of every descent; 0 takes the knapsack's allocation as it is.
        rate: see `descent.descend`.
        advance: called with the number of losses computed and steps taken since the last call.

    Guarantee: every allocation meets its budget within 1e-9, and its mean loss on the judge's texts is above that of
    the knapsack's allocation by one standard error of the paired difference at most; the same arguments give the same
    allocations, interrupted or not.
    """
    measured = [curve(objective, number, store, advance) for number in range(len(objective.costs))]
    descents = [
        at_target(objective, measured, gradients, target, store, steps=steps, rate=rate, advance=advance)
        for target in sorted(targets)
    ]
    for place in range(len(descents)):
        yield settled(judge, descents, place, fraction_of(objective), store, advance)


def curve(
    objective: Objective, projection: int, store: Store, advance: Callable[[int], object] = lambda _done: None
) -> list[float]:
    """The loss with one projection masked, at every level. Curves do not depend on each other."""
    name = f"curve-{projection:04d}"
    row = store.get(name)
    if row is None:
        alone = np.eye(len(objective.costs))[projection]
        row = [0.0, *(objective.loss(level * alone) for level in LEVELS[1:])]
        store.put(name, row)
    advance(len(row) - 1)
    return row


def fraction_of(objective: Objective) -> Float[ndarray, " projections"]:
    """Weights of every projection over those of all."""
    return np.array(objective.costs, dtype=np.float64) / sum(objective.costs)


def at_target(
    objective: Objective,
    curves: Sequence[Sequence[float]],
    gradients: descent.LossGradients,
    target: float,
    store: Store,
    *,
    steps: int,
    rate: float,
    advance: Callable[[int], object] = lambda _done: None,
) -> Descent:
    """The descent of one target, from the curves of all projections. Targets do not depend on each other.

    A start that loses next to nothing on the objective's texts stays where it is. For arguments see `kl`.
    """
    name = f"target-{target:g}"
    fraction = fraction_of(objective)
    first = allocate(np.array(LEVELS), np.array(curves), objective.costs, target)
    loss = _loss(objective, first, store, f"{name}-first")
    advance(1)
    if loss <= NEGLIGIBLE:
        advance(steps)
        return Descent(target, first, first)
    last = descended(first, fraction, target, gradients, store, name, steps=steps, rate=rate, advance=advance)
    return Descent(target, first, last)


def settled(
    judge: Judge,
    descents: Sequence[Descent],
    place: int,
    fraction: Float[ndarray, " projections"],
    store: Store,
    advance: Callable[[int], object] = lambda _done: None,
) -> Found:
    """The end of a descent or its mean with the ends of its two neighbours, or its start if that is clearly better.

    Args:
        judge: see `kl`.
        descents: what `at_target` has found for all targets, ascending.
        place: which of them. Where there was no descent its start is taken as it is; the first and the last have one
            neighbour, and no mean.
        share: weights of every projection over those of all.
        store, advance: see `kl`.
    """
    one = descents[place]

    def judged(name: str, sparsity: Float[ndarray, " projections"]) -> Float[ndarray, " texts"]:
        return _judged(judge, sparsity, store, f"target-{one.target:g}-{name}")

    best, losses = one.end, judged("end", one.end)
    if one.is_moved and 0 < place < len(descents) - 1:
        around = [descent.logits(other.end) for other in descents[place - 1 : place + 2]]
        mean = descent.allocation(np.mean(around, axis=0), fraction, one.target)
        of_mean = judged("mean", mean)
        if of_mean.mean() < losses.mean():
            best, losses = mean, of_mean
    if one.is_moved:
        of_start = judged("start", one.start)
        if is_clearly_lower(of_start, losses):
            best, losses = one.start, of_start
    advance(_CHOICES)
    return Found(one.target, best, float(losses.mean()))


def is_clearly_lower(one: Float[ndarray, " texts"], other: Float[ndarray, " texts"]) -> bool:
    """Whether the mean of `one` is below that of `other` by more than a standard error of their paired difference."""
    difference = other - one
    return len(difference) > 1 and bool(difference.mean() > difference.std(ddof=1) / np.sqrt(len(difference)))


def _judged(
    judge: Judge, sparsity: Float[ndarray, " projections"], store: Store, name: str
) -> Float[ndarray, " texts"]:
    kept = store.get(name)
    if kept is None:
        kept = judge(sparsity).tolist()
        store.put(name, kept)
    return np.array(kept)


def _loss(objective: Objective, sparsity: Float[ndarray, " projections"], store: Store, name: str) -> float:
    kept = store.get(name)
    if kept is None:
        kept = objective.loss(sparsity)
        store.put(name, kept)
    return kept


def descended(
    first: Float[ndarray, " projections"],
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
    """Where `steps` steps from `first` end; states are kept under `name`, the last one for good."""
    if steps == 0:
        return first
    kept = store.get(name)
    state = descent.start(first) if kept is None else descent.State.from_json(kept)
    advance(state.step)
    for following in descent.descend(state, fraction, target, gradients, steps=steps, rate=rate):
        state = following
        advance(1)
        if state.step % KEPT_EVERY == 0 or state.step == steps:
            store.put(name, state.to_json())
    return descent.result(state, fraction, target)


def work(projections: int, targets: int, steps: int) -> int:
    """Losses and steps of `kl`, as `advance` counts them."""
    return projections * (len(LEVELS) - 1) + targets * (1 + steps + _CHOICES)
