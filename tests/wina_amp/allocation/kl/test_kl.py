"""`wina_amp.allocation.kl.kl`: budgets met, never worse than its start, the same whether interrupted or not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wina_amp.allocation.kl.kl import GRID, NEGLIGIBLE, Descent, at_target, choose, curve, is_clearly_lower, kl, work
from wina_amp.allocation.kl.knapsack import allocate
from wina_amp.allocation.loss import descent

COSTS = [36864, 12288, 12288, 36864, 98304, 98304, 98304]
TARGETS = (0.25, 0.5, 0.75)
ROUNDING = 1e-9
"""The end of the bisection that meets budgets."""


class Interacting:
    """Losses that add up and interact; raises KeyboardInterrupt after a number of losses."""

    costs = COSTS

    def __init__(self, limit: int = 10**9):
        rng = np.random.default_rng(3)
        self.gradient = rng.uniform(0.2, 2, len(COSTS))
        self.mixed = rng.uniform(0, 1, (len(COSTS), len(COSTS)))
        self.left = limit

    def loss(self, sparsity: np.ndarray) -> float:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return float(self.gradient @ sparsity**2 + sparsity**2 @ self.mixed @ sparsity**2)

    def validation(self, sparsity: np.ndarray) -> np.ndarray:
        """The same loss of three texts that weigh it differently."""
        return self.loss(sparsity) * np.array([0.9, 1.0, 1.1])

    def gradients(self, sparsity: np.ndarray, _step: int) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        mixed = (self.mixed + self.mixed.T) @ sparsity**2
        return 2 * sparsity * (self.gradient + mixed)


class Memory(dict):
    """A store that keeps JSON, as files do."""

    def get(self, name):
        return json.loads(self[name]) if name in self else None

    def put(self, name, value):
        self[name] = json.dumps(value)


def _run(objective: Interacting, store: Memory, steps: int = 60, targets: tuple[float, ...] = TARGETS):
    return list(kl(objective, objective.validation, objective.gradients, targets, store, steps=steps, rate=0.1))


def test_every_target_is_met_at_a_loss_that_the_descent_lowers():
    objective = Interacting()
    found, plain = _run(objective, Memory()), _run(Interacting(), Memory(), steps=0)
    assert [one.target for one in found] == sorted(TARGETS)
    for one, start in zip(found, plain, strict=True):
        assert np.average(one.sparsity, weights=COSTS) == pytest.approx(one.target, abs=ROUNDING)
        assert one.loss == pytest.approx(objective.loss(one.sparsity))
        assert one.loss < start.loss


def test_a_descent_that_ends_above_its_start_is_not_taken():
    objective = Interacting()
    uphill = kl(
        objective, objective.validation, lambda s, k: -objective.gradients(s, k), TARGETS, Memory(), steps=60, rate=0.1
    )
    for one, start in zip(uphill, _run(Interacting(), Memory(), steps=0), strict=True):
        np.testing.assert_array_equal(one.sparsity, start.sparsity)
        assert one.loss == start.loss


FRACTION = np.array(COSTS) / sum(COSTS)


def _distance(liked: np.ndarray):
    """A judge whose three texts lose by the distance from the allocation that it likes."""
    return lambda sparsity: np.abs(sparsity - liked).sum() * np.array([0.9, 1.0, 1.1])


def test_start_end_and_the_mean_with_the_neighbours_are_chosen_from_by_validation_losses():
    objective = Interacting()
    curves = [curve(objective, number, Memory()) for number in range(len(COSTS))]
    descents = [
        at_target(objective, curves, objective.gradients, target, Memory(), steps=60, rate=0.1) for target in TARGETS
    ]
    logits = [np.log(one.end) - np.log1p(-one.end) for one in descents]
    around = np.clip(logits, -descent.LIMIT, descent.LIMIT)
    for place, one in enumerate(descents):
        choices = [one.start, one.end]
        if place == 1:
            choices.append(descent.allocation(around.mean(axis=0), FRACTION, one.target))
        assert min(np.abs(a - b).max() for i, a in enumerate(choices) for b in choices[:i]) > 1e-3  # they do differ
        for liked in choices:
            found = choose(_distance(liked), descents, place, FRACTION, Memory())
            np.testing.assert_allclose(found.sparsity, liked, atol=ROUNDING)
            assert found.loss == pytest.approx(0, abs=ROUNDING)
            assert np.average(found.sparsity, weights=COSTS) == pytest.approx(found.target, abs=ROUNDING)


@pytest.mark.parametrize(("losses", "is_start"), [([0.9, 0.9, 0.9], True), ([0.5, 0.5, 1.9], False)])
def test_a_start_is_only_taken_if_it_is_better_beyond_noise(losses: list[float], is_start: bool):
    start, end = np.full(7, 0.4), np.full(7, 0.6)
    validation = lambda sparsity: np.array(losses) if np.array_equal(sparsity, start) else np.ones(3)  # noqa: E731
    chosen = choose(validation, [Descent(0.5, start, end)], 0, FRACTION, Memory())
    assert np.mean(losses) < 1  # in the mean it is better both times
    np.testing.assert_array_equal(chosen.sparsity, start if is_start else end)


def test_clearly_lower_is_a_standard_error_of_the_paired_difference():
    rng = np.random.default_rng(0)
    for shift, expected in ((0.9, False), (1.1, True)):
        difference = rng.normal(0, 1, 50)
        difference += shift * difference.std(ddof=1) / 50**0.5 - difference.mean()
        base = rng.normal(5, 3, 50)  # what texts have in common says nothing
        assert is_clearly_lower(base, base + difference) == expected
    assert not is_clearly_lower(np.array([1.0]), np.array([2.0]))  # one text has no spread


def test_without_a_descent_there_is_nothing_to_choose():
    still = [Descent(target, np.full(7, target), np.full(7, target)) for target in TARGETS]
    moved = [
        Descent(0.25, np.full(7, 0.2), np.full(7, 0.25)),
        still[1],
        Descent(0.75, np.full(7, 0.7), np.full(7, 0.75)),
    ]
    asked = []
    found = choose(lambda s: asked.append(s) or np.ones(3), moved, 1, FRACTION, Memory())
    np.testing.assert_array_equal(found.sparsity, still[1].start)
    assert len(asked) == 1  # its loss


def test_a_start_that_loses_next_to_nothing_is_kept_as_it_is():
    objective, asked = Interacting(), []
    start = allocate(np.array(GRID), np.array([curve(objective, p, Memory()) for p in range(len(COSTS))]), COSTS, 0.5)
    for factor, descends in ((0.9, False), (1.1, True)):
        scale = factor * NEGLIGIBLE / Interacting().loss(start)
        scaled = Interacting()
        scaled.loss = lambda sparsity, scale=scale: scale * Interacting().loss(sparsity)
        asked.clear()
        (found,) = kl(
            scaled,
            scaled.validation,
            lambda s, k: asked.append(k) or objective.gradients(s, k),
            [0.5],
            Memory(),
            steps=9,
            rate=0.1,
        )
        assert bool(asked) == descends
        if not descends:
            np.testing.assert_allclose(found.sparsity, start, atol=ROUNDING)


def test_progress_adds_up_to_the_announced_work_interrupted_or_not():
    for limit in (10**9, 63 + 75):
        store, done = Memory(), []
        objective = Interacting(limit)
        try:
            list(
                kl(
                    objective,
                    objective.validation,
                    objective.gradients,
                    TARGETS,
                    store,
                    steps=30,
                    rate=0.1,
                    advance=done.append,
                )
            )
        except KeyboardInterrupt:
            done.clear()
            again = Interacting()
            list(kl(again, again.validation, again.gradients, TARGETS, store, steps=30, rate=0.1, advance=done.append))
        assert sum(done) == sum(work(len(COSTS), len(TARGETS), 30))


def test_without_steps_it_is_the_knapsack_on_the_curves_of_single_projections():
    objective = Interacting()
    curves = np.array([[objective.loss(np.eye(len(COSTS))[p] * level) for level in GRID] for p in range(len(COSTS))])
    for one in _run(objective, Memory(), steps=0):
        expected = allocate(np.array(GRID), curves, COSTS, one.target)
        np.testing.assert_array_equal(one.sparsity, expected)


@pytest.mark.parametrize("limit", [12, 30, 63 + 25, 63 + 140])
def test_an_interrupted_run_goes_on_and_ends_where_a_whole_one_does(limit: int):
    whole = _run(Interacting(), Memory())
    store = Memory()
    with pytest.raises(KeyboardInterrupt):
        _run(Interacting(limit), store)
    again = Interacting()
    for one, expected in zip(_run(again, store), whole, strict=True):
        np.testing.assert_array_equal(one.sparsity, expected.sparsity)
        assert one.loss == expected.loss
    total = Interacting()
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
    kept, fresh = _run(Interacting(), store, targets=targets), _run(Interacting(), Memory(), targets=targets)
    for resumed, expected in zip(kept, fresh, strict=True):
        np.testing.assert_array_equal(resumed.sparsity, expected.sparsity)
        assert (resumed.target, resumed.loss) == (expected.target, expected.loss)


def test_a_target_whose_neighbours_changed_keeps_its_descent():
    store, again = Memory(), Interacting()
    _run(Interacting(), store)
    left = again.left
    _run(again, store, targets=(0.5,))
    assert again.left == left  # end and start were measured, and there is no mean
