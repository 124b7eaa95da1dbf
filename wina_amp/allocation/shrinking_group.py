"""Groups of texts as `kl` allocates them, and as `shrinkage` does.

The own allocations of a group that shrinks are `kl`'s descents from the pooled ones, one for each target, which hold
out one fold after the other; or `greedy`'s path, which serves all targets and holds out the first fold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.calibration.cost import Store
from wina_amp.allocation.greedy.search import Path
from wina_amp.allocation.kl import kl
from wina_amp.allocation.kl.plan import group_plan, pooled_plan
from wina_amp.allocation.loss.divergence import Divergence
from wina_amp.allocation.loss.gradients import LossGradients
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.allocation.shrinkage import FOLDS, Group
from wina_amp.tokens.samples import TokenizedSample

Allocation = Float[ndarray, " projections"]
Paths = Callable[[Sequence[TokenizedSample], Store], Sequence[Path]]
"""The greedy path of every block, measured on these texts, or the one that the store has."""


def kl_group(inputs: LossInputs, budget: Mapping[str, Any], seed: int) -> kl.Group:
    """The group of these texts, for `kl`, whose allocations are compared on the last of them; for arguments see
    `shrinking_group`."""
    plan = pooled_plan(inputs.mean_length, **budget)
    validation = Divergence(inputs.on(inputs.texts[-plan.compared :]))
    gradients = LossGradients(inputs).on_minibatches(range(len(inputs.texts)), plan.batch, seed)
    return kl.Group(validation.losses, gradients, validation.fractions, plan.steps, plan.rate)


def shrinking_group(
    inputs: LossInputs,
    pooled: Mapping[float, Allocation],
    budget: Mapping[str, Any],
    seed: int,
    greedy: Paths | None = None,
) -> Group:
    """The group of these texts, for `shrinkage`.

    Args:
        inputs: the model and the texts, masked with pooled thresholds.
        pooled: target -> the pooled allocation.
        budget: of its plan (`plan.group_plan`).
        seed: of the descents' mini-batches.
        greedy: measures the group's own path; None descends by `kl`.
    """
    plan = group_plan(inputs.mean_length, **budget)
    folds = [Divergence(inputs.on(inputs.texts[first::FOLDS][: plan.compared])) for first in range(FOLDS)]
    held_out = {target: 0 if greedy else position % FOLDS for position, target in enumerate(sorted(pooled))}
    gradients = None if greedy else LossGradients(inputs)

    def own(target: float, store: Store) -> Allocation:
        fold = held_out[target]
        kept = [number for number in range(len(inputs.texts)) if number % FOLDS != fold]
        if gradients is None:
            assert greedy is not None
            return on_paths(greedy([inputs.texts[number] for number in kept], store), target)
        picked, fractions = gradients.on_minibatches(kept, plan.batch, seed), folds[0].fractions
        name, steps = f"own-{target}-fold{fold}", plan.steps
        return kl.stored_descent(pooled[target], fractions, target, picked, store, name, steps=steps, rate=plan.rate)

    return Group(pooled, own, [fold.losses for fold in folds], held_out, len(inputs.texts))


def on_paths(paths: Sequence[Path], target: float) -> Allocation:
    """The sparsity of every projection of the model at a target, block after block."""
    return np.concatenate([path.at(target)[0] for path in paths])
