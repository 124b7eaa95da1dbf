"""Allocations of a group that start from the pooled ones and shrink towards them, by as much as held-out texts ask for.

For every target the group's own allocation is the end of a descent that starts from the pooled allocation and sees the
group's texts only (`wina_amp/allocation/loss/descent.py`). Between the two lie

    logit s(strength)  =  (1 - strength) logit s_pooled  +  strength logit s_own          (and the budget is met again)

with strength 0, 1/4, ... 1: 0 is the pooled allocation. The strength is the one with the lowest

    sum over targets of  log( loss of s(strength) on held-out texts  /  loss of the pooled allocation on them )

The descent of each target leaves out another quarter of the group's texts, so that all of them count. One strength
serves all targets: the loss ratios of one target are noisy (a quarter of a small group), and a group is as special at
70% as it is at 75%.

Targets at which the pooled allocation loses next to nothing on the held-out texts keep it, and do not count.

Guarantee: on held-out texts no group is worse than pooled by this measure, since strength 0 is among the choices; a
group too small to hold texts out gets the pooled allocation. The pooled allocation has seen the held-out texts and the
group's own has not, so the comparison leans towards pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.calibration.cost import Store
from wina_amp.allocation.kl.kl import TextLosses, named, stored_descent
from wina_amp.allocation.loss import descent

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

FOLDS = 4

SMALLEST = 2 * FOLDS
"""Texts: a smaller group cannot hold any out."""

NEGLIGIBLE = 0.25
"""Nats per text: a smaller loss is not worth a descent. On the reference model predictions hardly change below it."""

_TINY = 1e-9
"""Nats: added to losses before their logarithm, for allocations that change nothing."""


@dataclass(frozen=True)
class Specialised:
    """The allocation of one group at one target.

    Attributes:
        target: weighted mean of `sparsity`.
        sparsity: of every projection.
        strength: 0 is the pooled allocation, 1 the group's own; the same at every target.
        loss: on the texts that its descent held out, in nats per text.
    """

    target: float
    sparsity: Float[ndarray, " projections"]
    strength: float
    loss: float


@dataclass(frozen=True)
class Candidates:
    """The allocations of one target, one for every strength.

    Attributes:
        allocations: sparsity of every projection.
        losses: of each on held-out texts, in nats per text.
    """

    allocations: list[Float[ndarray, " projections"]]
    losses: Float[ndarray, " strengths"]

    @property
    def log_ratios(self) -> Float[ndarray, " strengths"]:
        """Logarithm of each loss over that of the pooled allocation."""
        return np.log(self.losses + _TINY) - np.log(self.losses[0] + _TINY)


@dataclass(frozen=True)
class Group:
    """A group to allocate.

    Attributes:
        pooled: target -> the allocation to start from.
        fraction: weights of every projection over those of all.
        folds: of the group's train texts, in an order that does not depend on their content, every `FOLDS`th from the
            first, from the second, ...: allocation -> the loss of each text in the fold, in nats.
        gradients_on: numbers of texts -> gradients of their loss, as `descent.descend` asks for them.
        texts: how many texts the group has.
        steps: of every descent.
        rate: see `descent.descend`.
    """

    pooled: Mapping[float, Float[ndarray, " projections"]]
    fraction: Float[ndarray, " projections"]
    folds: Sequence[TextLosses]
    gradients_on: Callable[[Sequence[int]], descent.LossGradients]
    texts: int
    steps: int
    rate: float

    @property
    def targets(self) -> list[float]:
        """In ascending order."""
        return sorted(self.pooled)


def specialise(group: Group, store: Store, advance: Callable[[int], object] = lambda _done: None) -> list[Specialised]:
    """Allocate one group at every target, in ascending order.

    Args:
        group: texts, losses, and the pooled allocations.
        store: empty, or the one of an earlier run with the same texts.
        advance: called with the number of steps taken and losses computed since the last call.

    Guarantee: every allocation meets its budget within 1e-9; the same arguments give the same allocations, interrupted
    or not.
    """
    by_target = {target: candidates_at(group, target, store, advance) for target in group.targets}
    chosen = int(np.argmin(sum(candidates.log_ratios for candidates in by_target.values())))
    return [
        Specialised(target, candidates.allocations[chosen], STRENGTHS[chosen], float(candidates.losses[chosen]))
        for target, candidates in by_target.items()
    ]


def candidates_at(
    group: Group, target: float, store: Store, advance: Callable[[int], object] = lambda _done: None
) -> Candidates:
    """Every strength at one target, with its loss on held-out texts. Targets do not depend on each other."""
    pooled = group.pooled[target]
    fold = group.targets.index(target) % FOLDS if group.texts >= SMALLEST else 0
    pooled_loss = _losses([pooled], group.folds[fold], store, f"pooled-{target}-fold{fold}")
    if group.texts < SMALLEST or pooled_loss[0] <= NEGLIGIBLE:
        advance(group.steps + len(STRENGTHS))
        return Candidates([pooled] * len(STRENGTHS), pooled_loss.repeat(len(STRENGTHS)))
    advance(1)
    gradients = group.gradients_on([number for number in range(group.texts) if number % FOLDS != fold])
    own = stored_descent(
        pooled,
        group.fraction,
        target,
        gradients,
        store,
        f"own-{target}-fold{fold}",
        steps=group.steps,
        rate=group.rate,
        advance=advance,
    )
    allocations = [_between(pooled, own, strength, group.fraction, target) for strength in STRENGTHS]
    losses = _losses(allocations[1:], group.folds[fold], store, f"held-out-{target}-fold{fold}")
    advance(len(losses))
    return Candidates(allocations, np.concatenate([pooled_loss, losses]))


class Work(NamedTuple):
    """The work of `specialise` on one group, as `advance` counts it; the sum is all of it.

    Attributes:
        steps: of descents, each on a mini-batch.
        losses: on held-out texts, one in `FOLDS` of the group's.
    """

    steps: int
    losses: int


def work(targets: int, steps: int) -> Work:
    """The most that `specialise` does for one group: targets without a descent take no steps."""
    return Work(targets * steps, targets * len(STRENGTHS))


def _between(
    pooled: Float[ndarray, " projections"],
    own: Float[ndarray, " projections"],
    strength: float,
    fraction: Float[ndarray, " projections"],
    target: float,
) -> Float[ndarray, " projections"]:
    if strength == 0:
        return pooled  # itself, not what rounding makes of it: its masks are the pooled profile's
    mixed = (1 - strength) * descent.logits(pooled) + strength * descent.logits(own)
    return descent.allocation(mixed, fraction, target)


def _losses(
    allocations: Sequence[Float[ndarray, " projections"]], fold: TextLosses, store: Store, name: str
) -> Float[ndarray, " allocations"]:
    """The loss of every allocation on a fold, in nats per text."""
    name = named(name, *allocations)
    stored = store.get(name)
    if stored is None:
        stored = [float(fold(allocation).mean()) for allocation in allocations]
        store.put(name, stored)
    return np.array(stored)
