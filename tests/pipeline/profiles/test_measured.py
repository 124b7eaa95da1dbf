"""`pipeline.profiles.measured`: figures of the test split alone, paired with the dense model's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.profiles.measured import measured
from wina_amp.errors import UserError

OPTIONS = {"replicates": 200, "confidence": 0.9, "seed": 1}


def _results(targets: tuple[float, ...], *, wrong: int = 0, samples: int = 20) -> pd.DataFrame:
    """Half of the samples are of the test split; the first `wrong` of those score 0, all others and all of train 1."""
    rows = [
        {
            "target": target,
            "split": "test" if number % 2 else "train",
            "sample_id": f"t/{number:02d}",
            "score": float(number % 2 == 0 or number >= 2 * wrong),
            "realised_sparsity": target if number % 2 else 0.9,
            "flops": (1 - target) * (100.0 + number),
            "dense_flops": 100.0 + number,
        }
        for target in targets
        for number in range(samples)
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=0)


def test_means_are_those_of_the_test_split_and_losses_are_paired():
    low, high = measured(_results((0.25, 0.5), wrong=3), _results((0.0,), wrong=1), (0.25, 0.5), **OPTIONS)
    for target, figures in ((0.25, low), (0.5, high)):
        assert figures.samples == 10
        assert (figures.accuracy.value, figures.loss.value) == (0.7, 0.2)
        assert figures.accuracy.low < 0.7 < figures.accuracy.high
        assert figures.sparsity.value == figures.sparsity.high == target
        assert figures.compute.value == pytest.approx(1 - target)


def test_a_method_like_the_dense_model_loses_exactly_nothing():
    (figures,) = measured(_results((0.5,), wrong=3), _results((0.0,), wrong=3), (0.5,), **OPTIONS)
    assert (figures.loss.low, figures.loss.value, figures.loss.high) == (0, 0, 0)


def test_text_has_no_accuracy():
    results, dense = (_results((target,)).assign(score=np.nan) for target in (0.5, 0.0))
    (figures,) = measured(results, dense, (0.5,), **OPTIONS)
    assert figures.accuracy is None and figures.loss is None and figures.sparsity.value == 0.5


def test_nothing_is_said_where_the_test_split_was_not_evaluated():
    train = _results((0.5,)).query("split == 'train'")
    assert measured(train, train, (0.25, 0.5), **OPTIONS) == (None, None)


def test_targets_with_more_samples_are_measured_on_all_of_them_each_paired_with_its_own():
    dense = _results((0.0,), wrong=1)
    results = pd.concat([_results((0.25, 0.5), wrong=3, samples=16), _results((0.75,), wrong=3)])
    *low, high = measured(results, dense, (0.25, 0.5, 0.75), **OPTIONS)
    assert [each.samples for each in (*low, high)] == [8, 8, 10]
    assert [each.loss.value for each in (*low, high)] == [0.25, 0.25, 0.2]


def test_results_of_other_samples_or_targets_are_refused():
    dense = _results((0.0,))
    uneven = pd.concat([_results((target,), samples=samples) for target, samples in ((0.25, 14), (0.5, 16))])
    with pytest.raises(UserError, match=r"Found: 8 test samples at 0\.5, 10 of the dense model"):
        measured(uneven, dense, (0.25, 0.5), **OPTIONS)
    with pytest.raises(UserError, match=r"Found: 0 test samples at 0\.4, 10 of the dense model"):
        measured(_results((0.5,)), dense, (0.4,), **OPTIONS)
    with pytest.raises(UserError, match=r"Found: 10 test samples at 0\.5, 8 of the dense model.*dvc repro"):
        measured(_results((0.5,)), _results((0.0,), samples=16), (0.5,), **OPTIONS)
