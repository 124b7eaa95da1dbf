"""Pooled allocations and shifts are the profiles' sparsities, and the tables name where shifts are largest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.analysis.specialisation import pooled_allocations, specialisations
from pipeline.report.page.profile_tables import cost_table, shift_table
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


def test_the_table_names_the_projections_and_blocks_that_differ_most(plan, evidence):
    learned = specialisations(plan, evidence)[0]
    shifts = np.zeros_like(learned.shifts)
    shifts[:, learned.projections.index("up"), 3] = 0.3
    shifts[:, learned.projections.index("o"), 1] = -0.1
    row, flat = shift_table([replace(learned, shifts=shifts), replace(learned, shifts=0 * shifts)]).rows
    assert [cell.text for cell in row.cells][-2:] == ["up (75%) and o (25%)", "3 (75%) and 1 (25%)"]
    assert [cell.text for cell in flat.cells][-2:] == ["\N{EM DASH}"] * 2


def test_costs_are_totals_over_groups_beside_the_baseline_s():
    plan = with_kl()
    evidence = make_evidence(2, 4, plan=plan)
    rows = {row.name: [cell.value for cell in row.cells] for row in cost_table(plan, evidence.costs).rows}
    assert rows["wina"][2] == 0 and rows["greedy"][3] == 1
    assert rows["kl_clustered"][1] == GROUPS and rows["kl_clustered"][3] == GROUPS * COSTS["kl"]
    assert rows["kl"][4] == 4000
