"""Sparsity by block is the mean of what results have, on the samples of all methods."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.report.analysis.block_sparsity import block_sparsities
from tests.pipeline.report.synthetic import make_evidence, make_plan


def test_values_are_means_over_the_test_samples_that_every_method_has():
    plan = make_plan(limits={"test": 2})
    evidence = make_evidence(2, 6, plan=plan)
    rows = block_sparsities(plan, evidence)
    assert [(row.method, row.target) for row in rows] == [(m, target) for m in plan.sparse for target in plan.targets]
    for row in (rows[0], rows[-1]):
        table = evidence.results[row.method.name].query("split == 'test' and target == @row.target")
        first = table["sample_id"].str.split("/").str[-1].astype(int) < 2
        slow = [sum(values) / first.sum() for values in zip(*table["sparsity_by_block"][first], strict=True)]
        np.testing.assert_allclose(row.values, slow, rtol=1e-6)  # float32


def test_a_method_without_a_target_has_no_row_there():
    plan = make_plan()
    evidence = make_evidence(2, 2, plan=plan)
    few = evidence.results["wina"].query("target < 0.45")
    rows = block_sparsities(plan, replace(evidence, results={**evidence.results, "wina": few}))
    assert [row.target for row in rows if row.method.name == "wina"] == [0.25, 0.4]
