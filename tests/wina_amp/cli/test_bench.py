"""`wina-amp bench` times dense and sparse decoding in turns, and claims no more than the quartiles show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.cli import bench as module
from wina_amp.cli.app import app
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel


@pytest.fixture
def arguments(tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path) -> list[str]:
    profile_set(tiny_loaded, None).save_pretrained(tmp_path / "set")
    return ["bench", str(tiny_llama), str(tmp_path / "set"), "--tokens", "4", "--rounds", "3", "--backend", "reference"]


def timed(monkeypatch: pytest.MonkeyPatch, dense: list[float], sparse: list[float]) -> list[str]:
    """Let rounds take these seconds a token, two rounds of warm-up in front; the order of the calls."""
    left, order = {"dense": iter([9.0, 9.0, *dense]), "sparse": iter([9.0, 9.0, *sparse])}, list[str]()

    def seconds(lm: Any, given: Any, tokens: int, now: Callable[[], float]) -> float:
        real(lm, given, tokens, now)
        name = "sparse" if "forward" in vars(lm) else "dense"
        order.append(name)
        return next(left[name])

    real = module._seconds_per_token
    monkeypatch.setattr(module, "_seconds_per_token", seconds)
    return order


@pytest.mark.parametrize(
    ("sparse", "verdict"),
    [
        ([0.005, 0.005, 0.006], "sparse is faster"),
        ([0.02, 0.02, 0.03], "sparse is slower"),
        ([0.005, 0.01, 0.02], "no difference beyond the noise of this machine"),
    ],
)
def test_the_verdict_is_that_of_the_quartiles_of_the_ratio(
    sparse: list[float], verdict: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch
):
    order = timed(monkeypatch, [0.01] * 3, sparse)
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["verdict"] == verdict
    assert found["ms_per_token"]["dense"] == {"median": 10.0, "low": 10.0, "high": 10.0}
    assert found["ms_per_token"]["sparse"]["median"] == 1000 * sparse[1]
    assert found["speedup"]["median"] == pytest.approx(0.01 / sparse[1])
    assert order == ["dense", "sparse", "sparse", "dense"] * 2 + ["dense", "sparse"]


def test_a_table_shows_both_and_what_they_were_measured_on(arguments: list[str]):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    words = ("made_up at 0.5 on cpu, float32", "3 rounds of 4 tokens", "dense", "sparse", "speed-up", "quartiles")
    assert all(word in result.stdout for word in words)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("prompt", [pytest.param("w1 " * 130, id="a prompt longer than the context")])
def test_what_does_not_fit_the_context_is_refused(prompt: str, arguments: list[str]):
    result = CliRunner().invoke(app, [*arguments, "--prompt", prompt])
    assert isinstance(result.exception, UserError) and "fit into the context of 128" in str(result.exception)
