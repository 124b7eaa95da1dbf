"""`pipeline.latency.baseline`: the fastest way that works is the baseline, whatever it is called."""

from __future__ import annotations

import pytest

from pipeline.latency.baseline import strongest


class FakeSteps:
    """Steps that take a given time on a clock of the test."""

    def __init__(self, clock: Clock, seconds: float, error: str = "") -> None:
        self.clock, self.seconds, self.error, self.done = clock, seconds, error, []

    def get_ready(self) -> None:
        if self.error:
            raise RuntimeError(self.error)
        self.done.append("ready")

    def begin(self) -> None:
        self.done.append("begin")

    def close(self) -> None:
        self.done.append("close")

    def __call__(self) -> None:
        self.clock.now += self.seconds


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _strongest(clock: Clock, **candidates: FakeSteps):
    return strongest(candidates, 5, clock)


@pytest.mark.parametrize("fastest", ["eager", "compiled", "unmasked"])
def test_the_fastest_candidate_is_the_baseline(fastest: str):
    clock = Clock()
    candidates = {name: FakeSteps(clock, 1.0 if name == fastest else 2.0) for name in ("eager", "compiled", "unmasked")}
    baseline = _strongest(clock, **candidates)
    assert baseline.way == fastest and baseline.steps is candidates[fastest]
    assert {name: seconds.median for name, seconds in baseline.tried.items()} == {
        name: pytest.approx(steps.seconds) for name, steps in candidates.items()
    }
    assert all(steps.done == ["ready", "begin", "close"] for steps in candidates.values())


def test_a_candidate_that_does_not_work_is_left_out_with_the_first_line_of_its_reason(caplog):
    clock = Clock()
    broken = FakeSteps(clock, 0.1, "no compiler\nand a long story")
    baseline = _strongest(clock, eager=FakeSteps(clock, 1.0), compiled=broken)
    assert baseline.way == "eager" and list(baseline.tried) == ["eager"]
    assert baseline.failed == {"compiled": "no compiler"}
    assert "no compiler" in caplog.text


def test_without_the_first_candidate_there_is_no_baseline():
    clock = Clock()
    with pytest.raises(RuntimeError, match="out of memory"):
        _strongest(clock, eager=FakeSteps(clock, 1.0, "out of memory"), compiled=FakeSteps(clock, 1.0))
