"""Tables that do not fit the plan are refused with the file and the count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.report.analysis.evidence import outcomes, routes_of, split_samples
from tests.pipeline.report.synthetic import make_plan
from wina_amp.errors import UserError


def test_outcomes_have_one_column_per_sample_in_the_same_order_for_every_method(plan, evidence):
    results = outcomes(plan, evidence, "test")
    order = split_samples(evidence, "test").index
    rows = evidence.results["wina"].sample(frac=1, random_state=0)
    shuffled = replace(evidence, results={**evidence.results, "wina": rows})
    assert results["dense"].score.shape == (1, len(order))
    assert results["wina"].score.shape == (len(plan.targets), len(order))
    np.testing.assert_array_equal(outcomes(plan, shuffled, "test")["wina"].score, results["wina"].score)
    expected = rows[rows["target"] == 0.5].set_index("sample_id").loc[order, "score"]
    np.testing.assert_array_equal(results["wina"].score[2], expected)


def test_a_missing_result_is_refused_with_its_sample_and_target(plan, evidence):
    rows = evidence.results["task"]
    gone = (rows["sample_id"] == "facts/test/3") & (rows["target"] == 0.4)
    broken = replace(evidence, results={**evidence.results, "task": rows[~gone]})
    with pytest.raises(UserError, match=r"1 results missing \(facts/test/3 at 0\.4\).*results/task\.parquet"):
        outcomes(plan, broken, "test")


def test_results_of_samples_that_do_not_exist_are_refused(plan, evidence):
    rows = evidence.results["teal"]
    stray = rows[rows["sample_id"] == "facts/test/3"].assign(sample_id="facts/test/999")
    broken = replace(evidence, results={**evidence.results, "teal": pd.concat([rows, stray])})
    with pytest.raises(UserError, match="results of 1 unknown samples"):
        outcomes(plan, broken, "test")


def test_a_sample_without_a_route_is_refused(evidence):
    order = split_samples(evidence, "test").index
    broken = replace(evidence, routes={"scores": evidence.routes["scores"].iloc[:-2]})
    with pytest.raises(UserError, match="samples without a group"):
        routes_of(broken, "scores", order.append(pd.Index(["nobody"])))


def test_the_test_split_must_be_evaluated():
    with pytest.raises(UserError, match="needs the test split"):
        make_plan(splits=("train",))
