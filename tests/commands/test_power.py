"""`commands.power`: items that a comparison needs, from a discordance that is given or measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from commands import power
from pipeline.config.params import Settings, load
from pipeline.storage.schemas import RESULTS
from stages.inputs import paths
from tests.settings import PARAMS
from wina_amp.errors import UserError


def write(method: str, right: list[int], target: float = 0.5, split: str = "test") -> None:
    rows = pd.DataFrame({"sample_id": [f"t/{split}/{i}" for i in range(len(right))], "score": np.array(right, float)})
    same = {"method": method, "target": target, "split": split, "group": 0, "loglikelihood": np.nan, "margin": np.nan}
    more = {
        "realised_sparsity": target,
        "sparsity_by_block": [[target]] * len(right),
        "flops": 1.0,
        "dense_flops": 2.0,
        "correct": rows["score"] == 1,
    }
    RESULTS.write(rows.assign(**same, **more), paths.results(method))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    write("greedy", [1, 1, 0, 0, 1, 1, 1, 1, 1, 1])
    write("kl", [1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0])
    return load(PARAMS)


def test_discordance_is_measured_on_the_samples_of_both(settings: Settings):
    assert power.measured(settings, "kl", "greedy", 0.5) == (0.2, 10)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        pytest.param("klx", 0.5, "did you mean 'kl'", id="an unknown method"),
        pytest.param("kl", 0.6, "none in common at 0.6.*choose a target among 0.4", id="another target"),
    ],
)
def test_what_was_not_evaluated_is_refused(settings: Settings, method: str, target: float, message: str):
    with pytest.raises(UserError, match=message):
        power.measured(settings, method, "greedy", target)


def test_losses_are_those_of_train_samples_against_dense(settings: Settings):
    with pytest.raises(UserError, match="found on train samples that were evaluated"):
        write("dense", [1] * 10, target=0.0)
        power.losses(settings, "greedy")
    write("dense", [1, 1, 1, 1], target=0.0, split="train")
    write("greedy", [1, 0, 1, 1], split="train")
    ((target, lost, error, samples),) = power.losses(settings, "greedy")
    assert (target, lost, samples) == (0.5, 25.0, 4) and error == pytest.approx(25.0)


def test_the_page_says_what_is_needed_and_what_there_is():
    assert "11,774 items find 1 points" in power.report(0.15, 1.0, None)
    assert "896 items, as many as there are, find 3.62 points" in power.report(0.15, 1.0, 896)
    assert "no difference of 20 points is possible" in power.report(0.15, 20.0, 896)
