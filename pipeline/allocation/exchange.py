"""Search for a better allocation of the same budget: take sparsity from where it hurts to where it does not.

A move raises one projection's sparsity and lowers another's by the same number of weights, so every allocation that is
visited has exactly the budget of the first. One sweep

1. measures, for every projection, the loss when it gives up or takes back one portion of the budget, the rest of the
   allocation as it is now;
2. pairs the cheapest raises with the dearest lowerings, as long as a pair promises a gain;
3. makes all those moves at once, or the better half of them, a quarter, ..., whatever first lowers the true loss.

If nothing does, the portion is halved; the search ends when the portion is too small, the evaluations are spent, or a
sweep no longer gains much. Losses of neighbours are measured AT the current allocation, where the curves of
`pipeline/allocation/knapsack.py` are measured at the dense model: that is what the search adds.

Considered: random exchange moves (evolutionary, as in EvoPress), which need no sweep but many more rejected evaluations
on a model of 35 projections; for models with many more projections they may become the better choice.

Plain numbers; what the loss is, is the caller's business. No randomness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

LARGEST_STEP = 0.2
"""No move changes a sparsity by more: for a small projection a portion of the model's budget may be all of it."""

SMALLEST_GAIN = 0.01
"""A sweep that lowers the loss by less than this share is answered by halving the portion."""

Loss = Callable[[Float[ndarray, " projections"]], float]


@dataclass(frozen=True)
class State:
    """Where the search stands; what `to_json` gives is enough to go on later.

    Attributes:
        sparsity: of every projection.
        loss: of that allocation.
        portion: share of the model's weights that one move shifts.
        evaluations: losses computed so far.
        is_done: whether the search has ended.
    """

    sparsity: tuple[float, ...]
    loss: float
    portion: float
    evaluations: int
    is_done: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `from_json` gives back the same state to the last bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The state that `to_json` was called on."""
        plain: dict[str, Any] = {**values, "sparsity": tuple(values["sparsity"])}
        return cls(**plain)


@dataclass(frozen=True)
class _Move:
    """Shift `portion` of the budget: raise one projection, lower another."""

    raised: int
    lowered: int
    portion: float


def start(sparsity: Float[ndarray, " projections"], loss: Loss, portion: float) -> State:
    """The state before the first sweep.

    Args:
        sparsity: any allocation with the wanted budget.
        loss: what is to be lowered.
        portion: share of the model's weights that one move shifts at first.
    """
    return State(tuple(sparsity.tolist()), loss(sparsity), portion, evaluations=1)


def search(
    state: State,
    share: Float[ndarray, " projections"],
    loss: Loss,
    *,
    evaluations: int,
    smallest_portion: float,
    rebase: Callable[[Float[ndarray, " projections"]], object] = lambda _sparsity: None,
) -> Iterator[State]:
    """Sweep until the search ends; yields the state after every sweep.

    Args:
        state: from `start`, or an earlier run's last state.
        share: weights of every projection over those of all.
        loss: what is to be lowered; deterministic.
        evaluations: most losses to compute, earlier ones included; the sweep in progress is finished.
        smallest_portion: the search ends when halving has brought the portion below this.
        rebase: told the allocation whose neighbours are asked for next.

    Guarantee: losses never rise from state to state; every state's cost-weighted mean sparsity is the first one's, up
    to float64 rounding; all sparsities stay in [0, 1]; the states depend on the arguments alone, so a run that goes on
    from a stored state ends where an uninterrupted one does.
    """
    while not state.is_done:
        rebase(np.array(state.sparsity))
        state = _sweep(state, share, loss)
        if state.evaluations >= evaluations or state.portion < smallest_portion:
            state = replace(state, is_done=True)
        yield state


def _sweep(state: State, share: Float[ndarray, " projections"], loss: Loss) -> State:
    sparsity = np.array(state.sparsity)
    spent = 0

    def measured(candidate: Float[ndarray, " projections"]) -> float:
        nonlocal spent
        spent += 1
        return loss(candidate)

    moves = _moves(sparsity, share, state.portion, state.loss, measured)
    best, lowest = sparsity, state.loss
    while moves:
        candidate = _after(sparsity, share, moves)
        found = measured(candidate)
        if found < lowest:
            best, lowest = candidate, found
            break
        moves = moves[: len(moves) // 2]
    gained = state.loss - lowest > SMALLEST_GAIN * state.loss
    portion = state.portion if gained else state.portion / 2
    return State(tuple(best.tolist()), lowest, portion, state.evaluations + spent)


def _moves(
    sparsity: Float[ndarray, " projections"],
    share: Float[ndarray, " projections"],
    portion: float,
    loss: float,
    measured: Loss,
) -> list[_Move]:
    """The pairs that promise a gain, the best first; each projection moves one way, by one portion at most."""
    most = np.minimum(portion, LARGEST_STEP * share)
    raises = _marginals(np.minimum(most, (1 - sparsity) * share), +1, sparsity, share, loss, measured)
    lowers = _marginals(np.minimum(most, sparsity * share), -1, sparsity, share, loss, measured)
    found: list[_Move] = []
    used: set[int] = set()
    for raised, price, room in sorted(raises, key=lambda one: one[1]):
        if raised in used:
            continue
        for lowered, negative, room_below in sorted(lowers, key=lambda one: one[1]):
            if lowered in used or lowered == raised:
                continue
            if price + negative < 0:
                found.append(_Move(raised, lowered, min(room, room_below)))
                used |= {raised, lowered}
            break
    return found


def _marginals(
    room: Float[ndarray, " projections"],
    sign: int,
    sparsity: Float[ndarray, " projections"],
    share: Float[ndarray, " projections"],
    loss: float,
    measured: Loss,
) -> list[tuple[int, float, float]]:
    """For every projection that can move: its number, the loss it adds per unit of budget, how far it can go."""
    found: list[tuple[int, float, float]] = []
    for projection in np.flatnonzero(room > 1e-9).tolist():
        candidate = sparsity.copy()
        candidate[projection] = np.clip(candidate[projection] + sign * room[projection] / share[projection], 0.0, 1.0)
        found.append((projection, (measured(candidate) - loss) / room[projection], float(room[projection])))
    return found


def _after(
    sparsity: Float[ndarray, " projections"], share: Float[ndarray, " projections"], moves: list[_Move]
) -> Float[ndarray, " projections"]:
    found = sparsity.copy()
    for move in moves:
        found[move.raised] += move.portion / share[move.raised]
        found[move.lowered] -= move.portion / share[move.lowered]
    return np.clip(found, 0.0, 1.0)
