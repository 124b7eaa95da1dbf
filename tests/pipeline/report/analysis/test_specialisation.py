"""Pooled allocations and shifts are the profiles' sparsities."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.report.analysis.specialisation import pooled_allocations, specialisations
from pipeline.report.page.profile_tables import cost_table
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
    np.testing.assert_allclose(learned.mean_shift, [np.abs(group).mean() for group in learned.shifts])


def test_costs_are_totals_over_groups_beside_the_baseline_s():
    plan = with_kl()
    evidence = make_evidence(2, 4, plan=plan)
    rows = {row.name: [cell.value for cell in row.cells] for row in cost_table(plan, evidence.costs).rows}
    assert rows["wina"][2] == 0 and rows["greedy"][3] == 1
    assert rows["kl_clustered"][1] == GROUPS and rows["kl_clustered"][3] == GROUPS * COSTS["kl"]
    assert rows["kl"][4] == 4000
