"""Heat maps hold the profiles' sparsities, and the sentence names what carries the difference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.specialisation import pooled_allocations, specialisations
from pipeline.report.page.profile_rows import carriers, cost_rows, shift_rows
from tests.pipeline.report.synthetic import BLOCKS, COSTS, GROUPS, PROJECTIONS, make_evidence, with_kl

ROUNDING = 1e-12  # differences of two numbers of order 1


def test_every_rung_has_a_pooled_map_and_only_uniform_ones_are_flat():
    plan = with_kl()
    found = pooled_allocations(plan, make_evidence(2, 4, plan=plan))
    assert {one.profile: one.is_flat for one in found} == {"teal": True, "wina": True, "greedy": False, "kl": False}
    assert {one.target for one in found} == {0.5} and found[-1].configuration == "WINA, kl"


def test_shifts_are_the_tables_sparsities_minus_the_pooled_ones(plan, evidence):
    found = {one.profile: one for one in specialisations(plan, evidence)}
    assert next(iter(found)) == "clustered" and {one.kind for one in found.values()} == {
        "learned groups", "task groups, given", "random groups",
    }  # fmt: skip
    one = found["clustered"]
    assert one.shifts.shape == (GROUPS, len(PROJECTIONS), BLOCKS)

    def sparsity(profile, group, block, projection):
        rows = evidence.profiles[profile].set_index(["target", "group", "block", "projection"])["sparsity"]
        return rows[one.target, group, block, projection]

    for group, projection, block in ((0, "q", 0), (GROUPS - 1, "down", BLOCKS - 1), (1, "gate", 2)):
        expected = sparsity("clustered", group, block, projection) - sparsity("greedy", 0, block, projection)
        assert one.shifts[group, one.projections.index(projection), block] == pytest.approx(expected, abs=ROUNDING)
    assert one.by_projection.sum() == pytest.approx(1) and one.by_block.sum() == pytest.approx(1)


def test_the_sentence_names_the_projection_and_the_block_that_differ(plan, evidence):
    one = specialisations(plan, evidence)[0]
    shifts = np.zeros_like(one.shifts)
    shifts[:, one.projections.index("up"), 3] = 0.3
    shifts[:, one.projections.index("o"), 1] = -0.1
    said = carriers(replace(one, shifts=shifts))
    assert "up (75%) and o (25%)" in said and "14%" in said
    assert "3 (75%) and 1 (25%)" in said and "20%" in said
    assert carriers(replace(one, shifts=0 * shifts)).startswith("The groups have the pooled allocation")
    assert shift_rows([replace(one, shifts=0 * shifts)])[0]["projections"] == "\N{EM DASH}"


def test_costs_are_totals_over_groups_beside_the_baseline_s():
    plan = with_kl()
    evidence = make_evidence(2, 4, plan=plan)
    rows = {row["profile"]: row for row in cost_rows(plan, evidence.costs)}
    assert rows["wina"]["tokens"] == "0" and rows["greedy"]["times"] == "1"
    assert rows["kl_clustered"]["groups"] == GROUPS
    assert rows["kl_clustered"]["times"] == f"{GROUPS * COSTS['kl']}"
    assert rows["kl"]["evaluations"] == "4,000" and rows["kl"]["seconds"] == "60.0"
