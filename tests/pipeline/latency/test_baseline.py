"""`pipeline.latency.baseline`: the fastest way that works is compared with, whatever it is called."""

from __future__ import annotations

import pytest

from pipeline.latency.baseline import strongest


class Side:
    """Steps that take a given time on a clock of the test."""

    def __init__(self, world: World, seconds: float, error: str = "") -> None:
        self.world, self.seconds, self.error, self.done = world, seconds, error, []

    def get_ready(self) -> None:
        if self.error:
            raise RuntimeError(self.error)
        self.done.append("ready")

    def begin(self) -> None:
        self.done.append("begin")

    def close(self) -> None:
        self.done.append("close")

    def __call__(self) -> None:
        self.world.now += self.seconds


class World:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _found(world: World, **sides: Side):
    return strongest(sides, 5, world)


@pytest.mark.parametrize("fastest", ["eager", "compiled", "unmasked"])
def test_the_fastest_side_is_the_baseline(fastest: str):
    world = World()
    sides = {name: Side(world, 1.0 if name == fastest else 2.0) for name in ("eager", "compiled", "unmasked")}
    found = _found(world, **sides)
    assert found.way == fastest and found.steps is sides[fastest]
    assert {name: one.median for name, one in found.tried.items()} == {
        name: pytest.approx(side.seconds) for name, side in sides.items()
    }
    assert all(side.done == ["ready", "begin", "close"] for side in sides.values())


def test_a_side_that_does_not_work_is_left_out_with_the_first_line_of_its_reason(caplog):
    world = World()
    broken = Side(world, 0.1, "no compiler\nand a long story")
    found = _found(world, eager=Side(world, 1.0), compiled=broken)
    assert found.way == "eager" and found.failed == {"compiled": "no compiler"} and list(found.tried) == ["eager"]
    assert "no compiler" in caplog.text


def test_without_the_first_side_there_is_no_baseline():
    world = World()
    with pytest.raises(RuntimeError, match="out of memory"):
        _found(world, eager=Side(world, 1.0, "out of memory"), compiled=Side(world, 1.0))
