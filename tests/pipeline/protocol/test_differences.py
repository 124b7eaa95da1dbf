"""`pipeline.protocol.differences`: per-item differences at matched compute."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.protocol.differences import differences
from wina_amp.errors import UserError

TARGETS = (0.4, 0.5, 0.65)


def results(name: str, seed: int, samples: int = 50, *, drop: float = 0.6, shift: float = 0.0) -> pd.DataFrame:
    """Rows of `results`; dense without a drop."""
    rng = np.random.default_rng(seed)
    difficulty, order = rng.random(samples), rng.permutation(samples)
    rows = []
    for target in (0.0,) if name == "dense" else TARGETS:
        saved = target + shift + 0.02 * rng.random(samples) if target else np.zeros(samples)
        for i in order:
            right = float(difficulty[i] < 0.95 - drop * target**2)
            rows.append((name, target, f"t/test/{i}", right, 100 * (1 - saved[i]), 100.0))
    return pd.DataFrame(rows, columns=["method", "target", "sample_id", "score", "flops", "dense_flops"])


def test_differences_of_a_method_with_itself_are_zero_and_samples_are_paired_by_name() -> None:
    dense, own = results("dense", 0), results("a", 1)
    rows = differences(dense, own, own.sample(frac=1, random_state=1), 0.5)
    assert (rows["difference"] == 0).all() and rows["sample_id"].is_unique and len(rows) == 50


def test_the_mean_is_the_difference_of_the_curves_where_both_save_the_same() -> None:
    """By np.interp over the methods' means, the baseline saving more at its target."""
    dense, method, baseline = results("dense", 0), results("a", 1, drop=0.5), results("b", 2, shift=0.05)

    def curve(frame: pd.DataFrame) -> tuple[list[float], list[float]]:
        means = frame.assign(saving=1 - frame["flops"] / 100).groupby("target")[["saving", "score"]].mean()
        return [0.0, *means["saving"]], [float(dense["score"].mean()), *means["score"]]

    at = min(curve(frame)[0][2] for frame in (method, baseline))
    slow = np.interp(at, *curve(method)) - np.interp(at, *curve(baseline))
    rows = differences(dense, method, baseline, 0.5)
    assert rows["difference"].mean() == pytest.approx(100 * slow, abs=1e-9)
    assert (rows["method"] - rows["baseline"]).mean() == pytest.approx(rows["difference"].mean())


def test_text_is_left_out_because_it_is_never_right_or_wrong() -> None:
    frames = [results("dense", 0), results("a", 1), results("b", 2)]
    for frame in frames:
        frame.loc[frame["sample_id"] == "t/test/3", "score"] = np.nan
    assert len(differences(*frames, 0.5)) == 49


def test_texts_are_compared_by_log_likelihood_a_token_in_hundredths_of_a_nat() -> None:
    """Where both save the same, the mean is that of the definition; windows without a row of tokens are no texts."""
    tokens = {f"t/test/{i}": 2 + i % 3 for i in range(40)}
    frames = [results("dense", 0), results("a", 1), results("a", 1)]
    rng = np.random.default_rng(4)
    for frame in frames:
        frame["score"], frame["loglikelihood"] = np.nan, -rng.random(len(frame))
    rows = differences(*frames, 0.5, tokens)
    first, second = (frame[frame["target"] == 0.5].set_index("sample_id")["loglikelihood"] for frame in frames[1:])
    expected = 100 * (first - second)[list(tokens)] / pd.Series(tokens)
    assert set(rows["sample_id"]) == set(tokens)
    assert rows["difference"].mean() == pytest.approx(expected.mean())


@pytest.mark.tried("errors", "refused")
def test_a_question_about_texts_needs_texts() -> None:
    frames = [results(name, 0).assign(loglikelihood=np.nan) for name in ("dense", "a", "b")]
    with pytest.raises(UserError, match="must have texts"):
        differences(*frames, 0.5, {})


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda frame: frame[frame["sample_id"] != "t/test/3"], "the same samples", id="a sample is missing"
        ),
        pytest.param(lambda frame: frame[frame["target"] != 0.5], "be evaluated at 0.5", id="the target is missing"),
    ],
)
def test_results_that_cannot_be_compared_are_refused(change, message: str) -> None:
    with pytest.raises(UserError, match=message):
        differences(results("dense", 0), change(results("a", 1)), results("b", 2), 0.5)
