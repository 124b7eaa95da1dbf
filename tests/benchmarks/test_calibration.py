"""`benchmarks.calibration`: masked calibration meets its targets on the texts it saw; pairs differ in one thing."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from benchmarks import calibration
from tests.wina_amp.allocation.blocks import random_model, texts


def test_masked_rows_meet_the_target_on_train_and_text_is_scored_behind_the_first_token(capsys):
    loaded = random_model("llama")
    dense, *sparse = islice(calibration.measure(loaded, texts(), texts(), ["uniform"]), 3)
    assert [row["calibration"] for row in sparse] == ["dense", "masked"]
    np.testing.assert_allclose(sparse[1]["masked"], 0.4, atol=0.001)  # held out are the same texts here
    assert sparse[1]["sparsity"] == pytest.approx(0.4, abs=0.001)
    assert len(dense["loglikelihood"]) == len(texts()) and max(dense["loglikelihood"]) < 0
    assert "teal uniform masked 0.4: realised 0." in capsys.readouterr().out


def test_histograms_are_in_canonical_order_whichever_projections_share_their_scores():
    counts = calibration.dense_counts(random_model("llama"), texts(), ("wina_released",))["wina_released"]
    assert [name for _, name in counts] == ["q", "k", "v", "o", "gate", "up", "down"] * 2


def test_pairs_that_differ_in_one_thing_are_compared_at_the_smaller_realised_sparsity():
    def row(criterion: str, sparsity: float, nats: float) -> dict[str, object]:
        named = {"criterion": criterion, "allocation": "uniform", "calibration": "masked", "target": sparsity}
        return {**named, "sparsity": sparsity, "loglikelihood": [nats, nats - 1]}

    points = [0.4, 0.5, 0.65]
    teal = [row("teal", point, -10.0 - 10 * point) for point in points]
    wina = [row("wina", point + 0.1, -10.0 - 10 * point) for point in points]
    lines = list(calibration.differences([row("", 0.0, -10.0), *teal, *wina]))
    assert len(lines) == len(points)
    # On wina's straight line from (0.5, -14) to (0.6, -15), 0.5 is worth -14; teal has -15 there.
    assert lines[1].startswith("wina uniform masked - teal uniform masked, target 0.5, at realised 0.500: +1.00 [1.00")
