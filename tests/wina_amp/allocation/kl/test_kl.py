"""`wina_amp.allocation.kl.kl`: budgets met, never worse than equal sparsities, the same whether interrupted or not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wina_amp.allocation.kl.kl import Group, choose, end_at, kl, work
from wina_amp.allocation.loss import descent

COSTS = [36864, 12288, 12288, 36864, 98304, 98304, 98304]
FRACTION = np.array(COSTS) / sum(COSTS)
TARGETS = (0.25, 0.5, 0.75)
ROUNDING = 1e-9
"""The end of the bisection that meets budgets."""


class Interacting:
    """Losses that add up and interact; raises KeyboardInterrupt after a number of them."""

    def __init__(self, limit: int = 10**9):
        rng = np.random.default_rng(3)
        self.gradient = rng.uniform(0.2, 2, len(COSTS))
        self.mixed = rng.uniform(0, 1, (len(COSTS), len(COSTS)))
        self.left = limit

    def loss(self, sparsity: np.ndarray) -> float:
        return float(self.gradient @ sparsity**2 + sparsity**2 @ self.mixed @ sparsity**2)

    def validation(self, sparsity: np.ndarray) -> np.ndarray:
        """The loss of three texts that weigh it differently."""
        self._spend()
        return self.loss(sparsity) * np.array([0.9, 1.0, 1.1])

    def gradients(self, sparsity: np.ndarray, _step: int) -> np.ndarray:
        self._spend()
        return 2 * sparsity * (self.gradient + (self.mixed + self.mixed.T) @ sparsity**2)

    def _spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


class Memory(dict):
    """A store that keeps JSON, as files do."""

    def get(self, name):
        return json.loads(self[name]) if name in self else None

    def put(self, name, value):
        self[name] = json.dumps(value)


def _group(losses: Interacting, **options) -> Group:
    named = {"validation": losses.validation, "gradients": losses.gradients, "steps": 60} | options
    return Group(fraction=FRACTION, rate=0.1, **named)


def _run(losses: Interacting, store: Memory, targets: tuple[float, ...] = TARGETS, steps: int = 60, **options):
    return list(kl(_group(losses, steps=steps), targets, store, **options))


def test_every_target_is_met_at_a_loss_below_that_of_equal_sparsities():
    losses = Interacting()
    allocations = _run(losses, Memory())
    assert [allocated.target for allocated in allocations] == sorted(TARGETS)
    for allocated in allocations:
        assert FRACTION @ allocated.sparsity == pytest.approx(allocated.target, abs=ROUNDING)
        assert allocated.loss == pytest.approx(losses.loss(allocated.sparsity))
        assert allocated.loss < 0.95 * losses.loss(np.full(len(COSTS), allocated.target))


def test_a_descent_that_ends_above_equal_sparsities_is_not_taken():
    losses = Interacting()
    uphill = _group(losses, gradients=lambda s, k: -losses.gradients(s, k))
    for allocated in kl(uphill, TARGETS, Memory()):
        np.testing.assert_array_equal(allocated.sparsity, np.full(len(COSTS), allocated.target))


def test_the_budget_tightens_from_three_quarters_of_the_target_over_the_first_half_of_the_steps():
    losses, seen = Interacting(), []

    def gradients(sparsity: np.ndarray, step: int) -> np.ndarray:
        seen.append(FRACTION @ sparsity)
        return losses.gradients(sparsity, step)

    end_at(_group(losses, gradients=gradients, steps=8), 0.8, Memory())
    np.testing.assert_allclose(seen, [0.6, 0.65, 0.7, 0.75, 0.8, 0.8, 0.8, 0.8], atol=ROUNDING)


def _distance(liked: np.ndarray):
    """Losses of three texts: the distance from the allocation that they like."""
    return lambda sparsity: np.abs(sparsity - liked).sum() * np.array([0.9, 1.0, 1.1])


def test_end_mean_with_the_neighbours_and_equal_sparsities_are_chosen_from_by_validation_losses():
    losses = Interacting()
    ends = {target: end_at(_group(losses), target, Memory()) for target in TARGETS}
    around = np.mean([np.log(end) - np.log1p(-end) for end in ends.values()], axis=0)
    for target, end in ends.items():
        choices = [end, np.full(len(COSTS), target)]
        if target == 0.5:
            choices.append(descent.allocation(around, FRACTION, target))
        assert min(np.abs(a - b).max() for i, a in enumerate(choices) for b in choices[:i]) > 1e-3  # they do differ
        for liked in choices:
            chosen = choose(_group(losses, validation=_distance(liked)), ends, target, Memory())
            np.testing.assert_allclose(chosen.sparsity, liked, atol=ROUNDING)
            assert chosen.loss == pytest.approx(0, abs=ROUNDING)


def test_progress_adds_up_to_the_announced_work_interrupted_or_not():
    for limit in (10**9, 75):
        store, done = Memory(), []
        try:
            _run(Interacting(limit), store, steps=30, advance=done.append)
        except KeyboardInterrupt:
            done.clear()
            _run(Interacting(), store, steps=30, advance=done.append)
        assert sum(done) == sum(work(len(TARGETS), 30))


@pytest.mark.parametrize("limit", [10, 75, 181])
def test_an_interrupted_run_goes_on_and_ends_where_a_whole_one_does(limit: int):
    whole, store = _run(Interacting(), Memory()), Memory()
    with pytest.raises(KeyboardInterrupt):
        _run(Interacting(limit), store)
    again, total = Interacting(), Interacting()
    for resumed, expected in zip(_run(again, store), whole, strict=True):
        np.testing.assert_array_equal(resumed.sparsity, expected.sparsity)
        assert resumed.loss == expected.loss
    _run(total, Memory())
    assert again.left > total.left  # what was kept was not measured again


@pytest.mark.tried("keys", "recomputed")
@pytest.mark.parametrize(
    "targets",
    [
        pytest.param((0.25, 0.5, 0.7), id="another neighbour"),
        pytest.param((0.25, 0.4, 0.5, 0.75), id="a target between"),
        pytest.param((0.5, 0.75), id="no lower neighbour"),
        pytest.param((0.5,), id="no neighbours"),
        pytest.param((0.25, 0.5000001, 0.75), id="a target that differs in the seventh digit"),
    ],
)
def test_values_kept_with_other_targets_give_what_none_kept_would(targets: tuple[float, ...]):
    store = Memory()
    _run(Interacting(), store)
    kept, fresh = _run(Interacting(), store, targets), _run(Interacting(), Memory(), targets)
    for resumed, expected in zip(kept, fresh, strict=True):
        np.testing.assert_array_equal(resumed.sparsity, expected.sparsity)
        assert (resumed.target, resumed.loss) == (expected.target, expected.loss)


def test_a_target_whose_neighbours_changed_keeps_its_descent():
    store, again = Memory(), Interacting()
    _run(Interacting(), store)
    left = again.left
    _run(again, store, (0.5,))
    assert again.left == left  # end and equal sparsities were measured, and there is no mean
