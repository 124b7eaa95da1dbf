"""Pooled allocations and shifts are the profiles' sparsities, and the sentence names where shifts are largest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.specialisation import pooled_allocations, specialisations
from pipeline.report.page.profile_rows import carriers, cost_rows, shift_rows
from tests.pipeline.report.synthetic import BLOCKS, COSTS, GROUPS, PROJECTIONS, make_evidence, with_kl

ROUNDING = 1e-12  # differences of two numbers of order 1


def test_every_configuration_has_a_pooled_allocation_and_only_uniform_ones_are_flat():
    plan = with_kl()
    allocations = pooled_allocations(plan, make_evidence(2, 4, plan=plan))
    assert {row.profile: row.is_flat for row in allocations} == {
        "teal": True,
        "wina": True,
        "greedy": False,
        "kl": False,
    }
    assert {row.target for row in allocations} == {0.5} and allocations[-1].configuration == "WINA, kl"


def test_shifts_are_the_tables_sparsities_minus_the_pooled_ones(plan, evidence):
    rows = {row.profile: row for row in specialisations(plan, evidence)}
    assert next(iter(rows)) == "clustered"
    assert {row.kind for row in rows.values()} == {"learned groups", "label groups (task)", "random groups"}
    learned = rows["clustered"]
    assert learned.shifts.shape == (GROUPS, len(PROJECTIONS), BLOCKS)

    def sparsity(profile, group, block, projection):
        table = evidence.profiles[profile].set_index(["target", "group", "block", "projection"])["sparsity"]
        return table[learned.target, group, block, projection]

    for group, projection, block in ((0, "q", 0), (GROUPS - 1, "down", BLOCKS - 1), (1, "gate", 2)):
        expected = sparsity("clustered", group, block, projection) - sparsity("greedy", 0, block, projection)
        assert learned.shifts[group, learned.projections.index(projection), block] == pytest.approx(
            expected, abs=ROUNDING
        )
    assert learned.by_projection.sum() == pytest.approx(1) and learned.by_block.sum() == pytest.approx(1)


def test_the_sentence_names_the_projection_and_the_block_that_differ(plan, evidence):
    learned = specialisations(plan, evidence)[0]
    shifts = np.zeros_like(learned.shifts)
    shifts[:, learned.projections.index("up"), 3] = 0.3
    shifts[:, learned.projections.index("o"), 1] = -0.1
    (row,) = shift_rows([replace(learned, shifts=shifts)])
    assert (row["projections"], row["blocks"]) == ("up (75%) and o (25%)", "3 (75%) and 1 (25%)")
    sentence = carriers(replace(learned, shifts=shifts))
    assert all(part in sentence for part in (row["projections"], "14%", row["blocks"], "20%"))
    assert "%" not in carriers(replace(learned, shifts=0 * shifts))
    assert shift_rows([replace(learned, shifts=0 * shifts)])[0]["projections"] == "\N{EM DASH}"


def test_costs_are_totals_over_groups_beside_the_baseline_s():
    plan = with_kl()
    evidence = make_evidence(2, 4, plan=plan)
    rows = {row["profile"]: row for row in cost_rows(plan, evidence.costs)}
    assert rows["wina"]["tokens"] == "0" and rows["greedy"]["times"] == "1"
    assert rows["kl_clustered"]["groups"] == GROUPS
    assert rows["kl_clustered"]["times"] == f"{GROUPS * COSTS['kl']}"
    assert rows["kl"]["evaluations"] == "4,000"
