"""`pipeline.grouping.gradient_clusters`: allocation gradients leave the budget alone, and groups follow gradients, not
signatures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.grouping.gradient_clusters import LONGEST, allocation_gradients, gradient_groups, held_out_gain
from pipeline.statistics.agreement import adjusted_rand_index

PROJECTIONS = 6


@given(st.integers(0, 2**31 - 1), st.integers(2, 30))
@settings(max_examples=30, deadline=None)
def test_asking_for_less_sparsity_everywhere_changes_no_gradient_and_gradients_are_bounded(seed: int, texts: int):
    """Loss gradients in proportion to the weights say what moving the whole budget does: sum of g ds = c * (budget
    moved)."""
    rng = np.random.default_rng(seed)
    fraction = rng.dirichlet(np.ones(PROJECTIONS))
    sparsity = rng.uniform(0.05, 0.95, PROJECTIONS)
    gradients = rng.normal(size=(texts, PROJECTIONS)) * rng.exponential(size=(texts, 1))
    plain = allocation_gradients([gradients], [sparsity], fraction)
    again = allocation_gradients([gradients + rng.normal(size=(texts, 1)) * fraction], [sparsity], fraction)
    np.testing.assert_allclose(again, plain, rtol=1e-6, atol=1e-6)  # float64, divided by small deviations
    length = np.linalg.norm(plain, axis=1)
    assert plain.shape == (texts, PROJECTIONS) and (length <= LONGEST + 1e-9).all()
    assert np.median(length) == pytest.approx(1, abs=1e-9)


def test_allocation_gradients_equal_a_slow_transcription():
    rng = np.random.default_rng(1)
    fraction = rng.dirichlet(np.ones(PROJECTIONS))
    allocations = [rng.uniform(0.2, 0.9, PROJECTIONS) for _ in range(2)]
    gradients = [rng.normal(size=(9, PROJECTIONS)) for _ in range(2)]
    rows = []
    for text in range(9):
        row = []
        for gradient, sparsity in zip(gradients, allocations, strict=True):
            inner = [s * (1 - s) for s in sparsity]
            by_logit = [g * d for g, d in zip(gradient[text], inner, strict=True)]
            budget = [w * d for w, d in zip(fraction, inner, strict=True)]
            along = sum(g * b for g, b in zip(by_logit, budget, strict=True)) / sum(b * b for b in budget)
            row += [g - along * b for g, b in zip(by_logit, budget, strict=True)]
        rows.append(row)
    table = np.array(rows)
    table = (table - table.mean(axis=0)) / table.std(axis=0)
    median = np.median([np.sqrt((row**2).sum()) for row in table])
    expected = [row / median * min(1, LONGEST * median / np.sqrt((row**2).sum())) for row in table]
    np.testing.assert_allclose(allocation_gradients(gradients, allocations, fraction), expected, rtol=1e-9, atol=1e-12)


def test_a_projection_that_cannot_move_has_no_part_in_any_gradient():
    gradients = np.random.default_rng(0).normal(size=(8, 3))
    moves = allocation_gradients([gradients], [np.array([0.0, 0.5, 0.6])], np.full(3, 1 / 3))
    assert (moves[:, 0] == 0).all() and np.isfinite(moves).all()


def _samples(rng, count: int):
    """Points in which a loud property and a quiet one are to be seen; allocation gradients follow the quiet one."""
    loud, quiet = rng.integers(0, 2, count), rng.integers(0, 3, count)
    points = np.stack([6.0 * loud, *(1.0 * (quiet == value) for value in range(3))], axis=1)
    directions = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0]])
    return points + 0.05 * rng.normal(size=points.shape), directions[quiet] + rng.normal(size=(count, 4)), loud, quiet


def test_groups_follow_the_gradients_and_not_what_is_loudest_in_the_points():
    points, gradients, loud, quiet = _samples(np.random.default_rng(0), 400)
    train = np.arange(400) < 300
    made = gradient_groups(points, train, gradients[train], (2, 3, 4, 6), seed=0)
    assert made.chosen.count == 3
    assert adjusted_rand_index(made.groups, quiet) > 0.95 and abs(adjusted_rand_index(made.groups, loud)) < 0.05
    sizes = np.bincount(made.groups[train])
    assert (np.diff(sizes) <= 0).all() and [gain.count for gain in made.gains] == [2, 3, 4, 6]


def test_a_test_sample_changes_nothing_but_its_own_group():
    points, gradients, *_ = _samples(np.random.default_rng(2), 120)
    train = np.arange(120) < 100
    first = gradient_groups(points, train, gradients[train], (2, 3), seed=0)
    points[110:] += 3
    again = gradient_groups(points, train, gradients[train], (2, 3), seed=0)
    assert (first.groups[:110] == again.groups[:110]).all() and first.chosen == again.chosen


def test_the_gain_of_true_groups_is_what_their_directions_are_worth_and_that_of_random_ones_nothing():
    _, gradients, _, quiet = _samples(np.random.default_rng(3), 6000)
    true, error = held_out_gain(quiet, gradients, seed=0)
    centre = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    worth = np.mean([np.linalg.norm(direction - centre.mean(axis=0)) for direction in centre])
    assert true == pytest.approx(worth, abs=0.03)
    random, random_error = held_out_gain(np.random.default_rng(4).permutation(quiet), gradients, seed=0)
    # Random groups lie a little below 0: what a fold holds out, the rest lacks.
    assert abs(random) < 0.1 < true - 5 * max(error, random_error)


def test_the_gain_equals_a_slow_transcription():
    rng = np.random.default_rng(5)
    gradients, groups = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    generator, gains = np.random.default_rng(7), []
    for _ in range(4):
        order = generator.permutation(20)
        for fold in range(4):
            held = [int(order[i]) for i in range(20) if i % 4 == fold]
            fitted = [int(order[i]) for i in range(20) if i % 4 != fold]
            total = 0.0
            for group in range(3):
                own, others = ([n for n in part if groups[n] == group] for part in (fitted, held))
                if own and others:
                    direction = gradients[own].mean(axis=0) - gradients[fitted].mean(axis=0)
                    benefit = (gradients[others].mean(axis=0) - gradients[held].mean(axis=0)) @ direction
                    total += len(others) / len(held) * benefit / np.sqrt((direction**2).sum())
            gains.append(total)
    mean, error = held_out_gain(groups, gradients, seed=7)
    assert mean == pytest.approx(np.mean(gains), rel=1e-9)
    assert error == pytest.approx(np.std(gains, ddof=1) / 4, rel=1e-9)
