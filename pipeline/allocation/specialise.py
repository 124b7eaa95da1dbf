"""Allocations of a group that begin as the pooled ones and shrink towards them, by as much as held-out texts ask for.

For every target the group's own allocation is where a descent ends that begins at the pooled allocation and sees the
group's texts only (`pipeline/allocation/descent.py`). Between the two lie

    logit s(strength)  =  (1 - strength) logit s_pooled  +  strength logit s_own          (and the budget is met again)

with strength 0, 1/4, ... 1: 0 is the pooled allocation. The strength is the one with the lowest

    sum over targets of  log( loss of s(strength) on held-out texts  /  loss of the pooled allocation on them )

The descent of each target leaves out another quarter of the group's texts, so that all of them vote. One strength
serves all targets: votes of one target are noisy (a quarter of a small group), and a group is as special at 70% as it
is at 75%.

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

from pipeline.allocation import descent
from pipeline.allocation.kl import Store, descended

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)

FOLDS = 4

_TINY = 1e-9
"""Nats: added to losses before their logarithm, for allocations that change nothing."""


@dataclass(frozen=True)
class Specialised:
    """The allocation of one group at one target.

    Attributes:
        target: cost-weighted mean of `sparsity`.
        sparsity: of every projection.
        strength: 0 is the pooled allocation, 1 the group's own; the same at every target.
        loss: on all texts of the group, in nats per text.
    """

    target: float
    sparsity: Float[ndarray, " projections"]
    strength: float
    loss: float


def specialise(
    pooled: Mapping[float, Float[ndarray, " projections"]],
    costs: Sequence[int],
    texts: int,
    losses: Callable[[Float[ndarray, " projections"]], Float[ndarray, " texts"]],
    slopes_on: Callable[[Sequence[int]], descent.Slopes],
    store: Store,
    *,
    steps: int,
    rate: float,
    advance: Callable[[int], object] = lambda _done: None,
) -> list[Specialised]:
    """Allocate one group at every target, in ascending order.

    Args:
        pooled: target -> the allocation to begin with.
        costs: weights of every projection.
        texts: how many train texts the group has; their order must not depend on what they say.
        losses: the loss of every text under an allocation, in nats.
        slopes_on: numbers of texts -> slopes of their loss, as `descent.descend` asks for them.
        store: empty, or what an earlier run with the same arguments has left.
        steps: of every descent.
        rate: see `descent.descend`.
        advance: called with the number of steps taken and losses computed since the last call.

    Guarantee: every allocation meets its budget within 1e-9; the same arguments give the same allocations, interrupted
    or not.
    """
    share = np.array(costs, dtype=np.float64) / sum(costs)
    if texts < 2 * FOLDS:
        advance(work(len(pooled), steps))
        return [Specialised(t, pooled[t], 0.0, float(losses(pooled[t]).mean())) for t in sorted(pooled)]
    fold_of = np.arange(texts) % FOLDS
    between: dict[float, list[Float[ndarray, " projections"]]] = {}
    measured: dict[float, Float[ndarray, "strengths texts"]] = {}
    votes = np.zeros(len(STRENGTHS))
    for position, target in enumerate(sorted(pooled)):
        is_held_out = fold_of == position % FOLDS
        kept = store.get(f"own-{target:g}")
        if kept is None:
            slopes = slopes_on(np.flatnonzero(~is_held_out).tolist())
            found = descended(
                pooled[target],
                share,
                target,
                slopes,
                store,
                f"step-{target:g}",
                steps=steps,
                rate=rate,
                advance=advance,
            )
            kept = {"sparsity": found.tolist()}
            store.put(f"own-{target:g}", kept)
        else:
            advance(steps)
        between[target] = [_between(pooled[target], np.array(kept["sparsity"]), s, share, target) for s in STRENGTHS]
        measured[target] = _measured(between[target], losses, store, f"losses-{target:g}")
        advance(len(STRENGTHS))
        held_out = np.log(measured[target][:, is_held_out].sum(axis=1) + _TINY)
        votes += held_out - held_out[0]
    chosen = int(np.argmin(votes))
    return [
        Specialised(target, allocations[chosen], STRENGTHS[chosen], float(measured[target][chosen].mean()))
        for target, allocations in between.items()
    ]


def work(targets: int, steps: int) -> int:
    """Steps and losses of one group, as `advance` counts them."""
    return targets * (steps + len(STRENGTHS))


def _between(
    pooled: Float[ndarray, " projections"],
    own: Float[ndarray, " projections"],
    strength: float,
    share: Float[ndarray, " projections"],
    target: float,
) -> Float[ndarray, " projections"]:
    if strength == 0:
        return pooled  # itself, not what rounding makes of it: its masks are the pooled profile's
    mixed = (1 - strength) * descent.logits(pooled) + strength * descent.logits(own)
    return descent.allocation(mixed, share, target)


def _measured(
    allocations: Sequence[Float[ndarray, " projections"]],
    losses: Callable[[Float[ndarray, " projections"]], Float[ndarray, " texts"]],
    store: Store,
    name: str,
) -> Float[ndarray, "strengths texts"]:
    kept = store.get(name)
    if kept is None:
        kept = [losses(one).tolist() for one in allocations]
        store.put(name, kept)
    return np.array(kept)
