"""`pipeline.allocation.kl.kl`: budgets met, never worse than its start, the same whether interrupted or not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.allocation.calibration.cost import weight_fractions
from pipeline.allocation.kl.kl import NEGLIGIBLE, Allocated, allocate, is_clearly_lower, work

WEIGHTS = [36864, 12288, 12288, 36864, 98304, 98304, 98304]
FRACTION = weight_fractions(WEIGHTS)
TARGETS = (0.25, 0.5, 0.75)
STEPS = 60
ROUNDING = 1e-9
"""The end of the bisection that meets budgets."""


class Interacting:
    """Losses of projections that add up and interact; raises KeyboardInterrupt after a number of calls."""

    def __init__(self, limit: int = 10**9):
        rng = np.random.default_rng(3)
        self.own = rng.uniform(0.2, 2, len(WEIGHTS))
        self.mixed = rng.uniform(0, 1, (len(WEIGHTS), len(WEIGHTS)))
        self.left = limit

    def loss(self, sparsity: np.ndarray) -> float:
        return float(self.own @ sparsity**2 + sparsity**2 @ self.mixed @ sparsity**2)

    def losses(self, sparsity: np.ndarray) -> np.ndarray:
        """Of three texts that weigh it differently."""
        self._count()
        return self.loss(sparsity) * np.array([0.9, 1.0, 1.1])

    def gradients(self, sparsity: np.ndarray, _step: int) -> np.ndarray:
        self._count()
        mixed = (self.mixed + self.mixed.T) @ sparsity**2
        return 2 * sparsity * (self.own + mixed)

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


class Memory(dict):
    """A store that keeps JSON, as files do."""

    def get(self, name):
        return json.loads(self[name]) if name in self else None

    def put(self, name, value):
        self[name] = json.dumps(value)


def _run(objective, store=None, *, steps=STEPS, losses=None, gradients=None, **options) -> list[Allocated]:
    losses, gradients = losses or objective.losses, gradients or objective.gradients
    store = Memory() if store is None else store
    return [
        allocate(target, FRACTION, gradients, losses, store, steps=steps, rate=0.1, **options) for target in TARGETS
    ]


def test_every_target_is_met_at_a_loss_that_the_descent_lowers():
    objective = Interacting()
    for target, allocated in zip(TARGETS, _run(objective), strict=True):
        assert allocated.target == target
        assert FRACTION @ allocated.sparsity == pytest.approx(target, abs=ROUNDING)
        assert allocated.loss == pytest.approx(objective.loss(allocated.sparsity))
        assert allocated.loss < 0.95 * objective.loss(np.full(len(WEIGHTS), target))


def test_without_steps_it_is_the_uniform_allocation():
    for allocated in _run(Interacting(), steps=0):
        np.testing.assert_array_equal(allocated.sparsity, np.full(len(WEIGHTS), allocated.target))


def test_a_descent_that_ends_above_its_start_is_not_taken():
    objective = Interacting()
    uphill = _run(objective, gradients=lambda sparsity, step: -objective.gradients(sparsity, step))
    for allocated in uphill:
        np.testing.assert_array_equal(allocated.sparsity, np.full(len(WEIGHTS), allocated.target))
        assert allocated.loss == pytest.approx(objective.loss(allocated.sparsity))


@pytest.mark.parametrize(("start_losses", "is_start"), [([0.9, 0.9, 0.9], True), ([0.5, 0.5, 1.9], False)])
def test_a_start_is_only_taken_if_it_is_better_beyond_noise(start_losses: list[float], is_start: bool):
    def losses(sparsity: np.ndarray) -> np.ndarray:
        return np.array(start_losses) if np.ptp(sparsity) == 0 else np.ones(3)

    assert np.mean(start_losses) < 1  # in the mean it is better both times
    for allocated in _run(Interacting(), losses=losses):
        assert (np.ptp(allocated.sparsity) == 0) == is_start
        assert allocated.loss == pytest.approx(np.mean(start_losses) if is_start else 1)


def test_clearly_lower_is_a_standard_error_of_the_paired_difference():
    rng = np.random.default_rng(0)
    for shift, expected in ((0.9, False), (1.1, True)):
        difference = rng.normal(0, 1, 50)
        difference += shift * difference.std(ddof=1) / 50**0.5 - difference.mean()
        base = rng.normal(5, 3, 50)  # common to both losses of a text, so it cancels
        assert is_clearly_lower(base, base + difference) == expected
    assert not is_clearly_lower(np.array([1.0]), np.array([2.0]))  # one text has no spread


@pytest.mark.parametrize(("factor", "descends"), [(0.9, False), (1.1, True)])
def test_a_start_that_loses_next_to_nothing_is_kept_as_it_is(factor: float, descends: bool):
    objective, asked = Interacting(), []

    def losses(sparsity: np.ndarray) -> np.ndarray:
        target = float(FRACTION @ sparsity)
        return factor * NEGLIGIBLE * objective.losses(sparsity) / objective.loss(np.full(len(WEIGHTS), target))

    allocations = _run(
        objective, losses=losses, gradients=lambda s, step: asked.append(step) or objective.gradients(s, step)
    )
    assert len(asked) == descends * STEPS * len(TARGETS)
    assert all((np.ptp(allocated.sparsity) > 0) == descends for allocated in allocations)


@pytest.mark.parametrize("limit", [10**9, 0, 30, STEPS + 2, 2 * STEPS + 20])
def test_progress_adds_up_to_the_announced_work_interrupted_or_not(limit: int):
    store, done = Memory(), []
    try:
        _run(Interacting(limit), store, advance=done.append)
    except KeyboardInterrupt:
        done.clear()
        _run(Interacting(), store, advance=done.append)
    assert sum(done) == work(len(TARGETS), STEPS)


@pytest.mark.parametrize("limit", [12, 30, STEPS + 25, 2 * STEPS + 40])
def test_an_interrupted_run_goes_on_and_ends_where_a_whole_one_does(limit: int):
    whole, store = _run(Interacting()), Memory()
    with pytest.raises(KeyboardInterrupt):
        _run(Interacting(limit), store)
    again, total = Interacting(), Interacting()
    for allocated, expected in zip(_run(again, store), whole, strict=True):
        np.testing.assert_array_equal(allocated.sparsity, expected.sparsity)
        assert allocated.loss == expected.loss
    _run(total)
    assert again.left > total.left  # what was stored was not measured again
