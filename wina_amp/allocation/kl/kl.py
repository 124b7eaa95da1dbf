"""`kl` allocation of one group: every target's budget is one budget for the whole model, spent where predictions change
least.

1. The loss (`wina_amp/allocation/loss/divergence.py`) is measured with one projection masked at a time, at every
   sparsity of the grid.
2. Those curves give an allocation for every target (`wina_amp/allocation/kl/knapsack.py`).
3. Each that loses more than `NEGLIGIBLE` goes down the gradient of the loss (`wina_amp/allocation/loss/descent.py`), on
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

Everything that was measured goes through a store, so that an interrupted run goes on where it stopped. A stored value
is named by the allocation that it was measured on: the mean of another set of targets is another allocation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.calibration.cost import Store, weight_fractions
from wina_amp.allocation.kl.knapsack import allocate
from wina_amp.allocation.loss import descent

GRID = (0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Sparsities at which the loss of a single projection is measured; between them curves are straight."""

NEGLIGIBLE = 0.01
"""Nats per position: an allocation that loses less is not improved, because no prediction would notice."""

_CHOICES = 3
"""Of `choose`: end, mean and start."""

STORED_EVERY = 10
"""Steps of a descent between two states that are stored."""


class Objective(Protocol):
    """The loss that an allocation keeps low; `divergence.Divergence` is one."""

    @property
    def costs(self) -> list[int]:
        """Weights of every projection."""
        ...

    def loss(self, sparsity: Float[ndarray, " projections"]) -> float:
        """The loss of an allocation."""
        ...


TextLosses = Callable[[Float[ndarray, " projections"]], Float[ndarray, " texts"]]
"""Allocation -> the loss of every text, in nats."""


@dataclass(frozen=True)
class Descent:
    """Start and end of the descent of one target.

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


def kl(
    objective: Objective,
    validation: TextLosses,
    gradients: descent.LossGradients,
    targets: Sequence[float],
    store: Store,
    *,
    steps: int,
    rate: float,
    advance: Callable[[int], object] = lambda _done: None,
) -> Iterator[Allocated]:
    """Allocate one group at every target, in ascending order.

    Args:
        objective: the loss, and what projections cost.
        validation: losses of more texts, on which start, end and mean are compared.
        gradients: (allocation, number of the step) -> derivative of the loss by every sparsity.
        targets: cost-weighted mean sparsities, in (0, 1).
        store: empty, or what an earlier run has left whose arguments were the same but for the targets.
        steps: of every descent; 0 takes the knapsack's allocation as it is.
        rate: see `descent.descend`.
        advance: called with the number of losses computed and steps taken since the last call.

    Guarantee: every allocation meets its budget within 1e-9, and its mean loss on the validation texts is above that of
    the knapsack's allocation by one standard error of the paired difference at most; the same arguments give the same
    allocations, interrupted or not.
    """
    measured = [curve(objective, number, store, advance) for number in range(len(objective.costs))]
    descents = [
        at_target(objective, measured, gradients, target, store, steps=steps, rate=rate, advance=advance)
        for target in sorted(targets)
    ]
    for position in range(len(descents)):
        yield choose(validation, descents, position, fraction_of(objective), store, advance)


def curve(
    objective: Objective, projection: int, store: Store, advance: Callable[[int], object] = lambda _done: None
) -> list[float]:
    """The loss with one projection masked, at every sparsity of the grid. Curves do not depend on each other."""
    name = f"curve-{projection:04d}"
    row = store.get(name)
    if row is None:
        alone = np.eye(len(objective.costs))[projection]
        row = [0.0, *(objective.loss(sparsity * alone) for sparsity in GRID[1:])]
        store.put(name, row)
    advance(len(row) - 1)
    return row


def fraction_of(objective: Objective) -> Float[ndarray, " projections"]:
    """Weights of every projection over those of all."""
    return weight_fractions(objective.costs)


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
    name = f"target-{target}"
    fraction = fraction_of(objective)
    first = allocate(np.array(GRID), np.array(curves), objective.costs, target)
    loss = _loss(objective, first, store, f"{name}-first")
    advance(1)
    if loss <= NEGLIGIBLE:
        advance(steps)
        return Descent(target, first, first)
    last = stored_descent(first, fraction, target, gradients, store, name, steps=steps, rate=rate, advance=advance)
    return Descent(target, first, last)


def choose(
    validation: TextLosses,
    descents: Sequence[Descent],
    position: int,
    fraction: Float[ndarray, " projections"],
    store: Store,
    advance: Callable[[int], object] = lambda _done: None,
) -> Allocated:
    """The end of a descent or its mean with the ends of its two neighbours, or its start if that is clearly better.

    Args:
        validation: see `kl`.
        descents: what `at_target` has found for all targets, ascending.
        position: which of them. Where there was no descent its start is taken as it is; the first and the last have one
            neighbour, and no mean.
        fraction: weights of every projection over those of all.
        store, advance: see `kl`.
    """
    own = descents[position]

    def losses_of(name: str, sparsity: Float[ndarray, " projections"]) -> Float[ndarray, " texts"]:
        return _stored_losses(validation, sparsity, store, f"target-{own.target}-{name}")

    best, losses = own.end, losses_of("end", own.end)
    if own.is_moved and 0 < position < len(descents) - 1:
        around = [descent.logits(other.end) for other in descents[position - 1 : position + 2]]
        mean = descent.allocation(np.mean(around, axis=0), fraction, own.target)
        of_mean = losses_of("mean", mean)
        if of_mean.mean() < losses.mean():
            best, losses = mean, of_mean
    if own.is_moved:
        of_start = losses_of("start", own.start)
        if is_clearly_lower(of_start, losses):
            best, losses = own.start, of_start
    advance(_CHOICES)
    return Allocated(own.target, best, float(losses.mean()))


def is_clearly_lower(losses: Float[ndarray, " texts"], others: Float[ndarray, " texts"]) -> bool:
    """Whether the mean of `losses` is below that of `others` by more than a standard error of their paired
    difference."""
    difference = others - losses
    return len(difference) > 1 and bool(difference.mean() > difference.std(ddof=1) / np.sqrt(len(difference)))


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


def _loss(objective: Objective, sparsity: Float[ndarray, " projections"], store: Store, name: str) -> float:
    name = named(name, sparsity)
    stored = store.get(name)
    if stored is None:
        stored = objective.loss(sparsity)
        store.put(name, stored)
    return stored


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
    advance: Callable[[int], object],
) -> Float[ndarray, " projections"]:
    """The end of `steps` steps from `first`; states are stored under `name` and start, the last one for good."""
    if steps == 0:
        return first
    name = named(name, first)
    stored = store.get(name)
    state = descent.start(first) if stored is None else descent.State.from_json(stored)
    advance(state.step)
    for following in descent.descend(state, fraction, target, gradients, steps=steps, rate=rate):
        state = following
        advance(1)
        if state.step % STORED_EVERY == 0 or state.step == steps:
            store.put(name, state.to_json())
    return descent.result(state, fraction, target)


class Work(NamedTuple):
    """The work of `kl` on one group, as `advance` counts it; the sum is all of it.

    Attributes:
        curves: losses on the texts of the curves with one projection masked.
        starts: losses on those texts with all projections masked.
        steps: of descents, each on a mini-batch.
        choices: losses on the validation texts.
    """

    curves: int
    starts: int
    steps: int
    choices: int


def work(projections: int, targets: int, steps: int) -> Work:
    """The most that `kl` does for one group: targets without a descent take no steps."""
    return Work(projections * (len(GRID) - 1), targets, targets * steps, targets * _CHOICES)
