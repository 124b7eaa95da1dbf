"""Allocations of a group that shrink towards the pooled ones, by as much as held-out texts ask for.

For every target the group has an allocation of its own that has seen its texts only: `kl`'s descent from the pooled
allocation, or the path of `greedy`. Between the two lie

    s(strength)  =  (1 - strength) s_pooled  +  strength s_own                             (both meet the same budget)

with strength 0, 1/4, ... 1: 0 is the pooled allocation. The strength is the one with the lowest

    sum over targets of  log( loss of s(strength) on held-out texts  /  loss of the pooled allocation on them )

The loss is the model's, KL between dense and masked answers, whatever the allocations were made by: block errors of a
few hundred tokens fall where predictions get worse (docs/log.md). The own allocation of a target has not seen one
quarter of the group's texts (`held_out`), on which its losses are taken. One strength serves all targets: the loss
ratios of one target are noisy (a quarter of a small group), and a group is as special at 70% as it is at 75%.

Targets at which the pooled allocation loses next to nothing on the held-out texts keep it, and do not count.

Guarantee: on held-out texts no group is worse than pooled by this measure, since strength 0 is among the choices; a
group too small to hold texts out gets the pooled allocation. The pooled allocation has seen the held-out texts and the
group's own has not, so the comparison leans towards pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.calibration.cost import Store
from wina_amp.allocation.kl.kl import TextLosses, named

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

FOLDS = 4

SMALLEST = 2 * FOLDS
"""Texts: a smaller group cannot hold any out."""

NEGLIGIBLE = 0.25
"""Nats per text: a smaller loss is not worth an allocation of one's own. On the reference model predictions hardly
change below it."""

_TINY = 1e-9
"""Nats: added to losses before their logarithm, for allocations that change nothing."""


@dataclass(frozen=True)
class Shrunk:
    """The allocation of one group at one target.

    Attributes:
        target: weighted mean of `sparsity`.
        sparsity: of every projection.
        strength: 0 is the pooled allocation, 1 the group's own; the same at every target.
        loss: on the texts that were held out, in nats per text.
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
        pooled: target -> the allocation to shrink towards.
        own: (target, store) -> the group's own allocation, made without the texts that it holds out; called where it is
            needed.
        folds: of the group's texts, in an order that does not depend on their content, every `FOLDS`th from the first,
            from the second, ...: allocation -> the loss of each text in the fold, in nats.
        held_out: target -> number of the fold that its own allocation holds out.
        texts: how many texts the group has.
    """

    pooled: Mapping[float, Float[ndarray, " projections"]]
    own: Callable[[float, Store], Float[ndarray, " projections"]]
    folds: Sequence[TextLosses]
    held_out: Mapping[float, int]
    texts: int


def shrink(group: Group, store: Store, advance: Callable[[int], object] = lambda _done: None) -> list[Shrunk]:
    """Allocate one group at every target, in ascending order.

    Args:
        group: texts, losses, and the pooled allocations.
        store: empty, or the one of an earlier run with the same texts.
        advance: called with the number of targets that are done since the last call.

    Guarantee: every allocation meets its budget as the pooled and the own one do; the same arguments give the same
    allocations, interrupted or not.
    """
    by_target = {target: candidates_at(group, target, store, advance) for target in sorted(group.pooled)}
    chosen = int(np.argmin(sum(candidates.log_ratios for candidates in by_target.values())))
    return [
        Shrunk(target, candidates.allocations[chosen], STRENGTHS[chosen], float(candidates.losses[chosen]))
        for target, candidates in by_target.items()
    ]


def candidates_at(
    group: Group, target: float, store: Store, advance: Callable[[int], object] = lambda _done: None
) -> Candidates:
    """Every strength at one target, with its loss on held-out texts. Targets do not depend on each other."""
    is_small = group.texts < SMALLEST
    pooled, number = group.pooled[target], 0 if is_small else group.held_out[target]
    fold = group.folds[number]
    pooled_loss = _losses([pooled], fold, store, f"pooled-{target}-fold{number}")
    if is_small or pooled_loss[0] <= NEGLIGIBLE:
        candidates = Candidates([pooled] * len(STRENGTHS), pooled_loss.repeat(len(STRENGTHS)))
    else:
        own = group.own(target, store)
        # Of strength 0 the pooled allocation itself, not what rounding makes of it: its masks are the pooled profile's.
        between = [pooled, *((1 - strength) * pooled + strength * own for strength in STRENGTHS[1:])]
        losses = _losses(between[1:], fold, store, f"held-out-{target}-fold{number}")
        candidates = Candidates(between, np.concatenate([pooled_loss, losses]))
    advance(1)
    return candidates


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
