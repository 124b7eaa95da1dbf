"""The simulated pool keeps the bounds of list scheduling, and counts the work of a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling import FLOPS, START, WEIGHTS, makespan, stages

NEVER = math.inf


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=40), st.integers(1, 8))
def test_a_stage_takes_its_share_of_the_work_and_at_most_its_longest_task_more(tasks: list[float], workers: int):
    """Graham's bound: next task to the next free worker ends before work / workers + the longest task."""
    seconds = makespan(np.array(tasks), workers, NEVER, np.random.default_rng(0))
    assert max(sum(tasks) / workers, max(tasks)) - 1e-9 <= seconds <= sum(tasks) / workers + max(tasks) + 1e-9


def test_one_worker_does_one_task_after_another():
    assert makespan(np.array([1.0, 2.0, 3.0]), 1, NEVER, np.random.default_rng(0)) == 6


def test_a_lost_worker_costs_what_its_task_had_done_and_a_start():
    lost, undisturbed = (makespan(np.full(50, 10.0), 2, after, np.random.default_rng(0)) for after in (40.0, NEVER))
    assert undisturbed == 250 and lost >= undisturbed + START


def test_capture_reads_every_token_of_every_sample_once():
    lengths = np.random.default_rng(0).integers(50, 900, 3000).astype(float)
    capture = next(stage for stage in stages(lengths) if stage.name == "capture")
    assert sum(tasks.sum() for tasks in capture.rounds) == pytest.approx(lengths.sum() * 2 * WEIGHTS / FLOPS * 1.35)
