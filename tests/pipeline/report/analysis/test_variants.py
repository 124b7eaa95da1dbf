"""Other clusterings against the labels, on groups whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.report.analysis.agreement import agreements
from pipeline.report.analysis.evidence import groups_of, split_samples
from pipeline.report.analysis.variants import by_block, variants, without_length
from pipeline.statistics.agreement import normalized_mutual_information
from tests.pipeline.report.synthetic import BLOCKS, make_evidence, make_plan
from wina_amp.errors import UserError

EXACT = 1e-12


@pytest.fixture(scope="module")
def clusterings(plan, evidence):
    return variants(plan, evidence)


def test_there_is_one_variant_a_block_in_order_and_one_without_length(clusterings):
    assert [variant.block for variant in by_block(clusterings)] == list(range(BLOCKS))
    assert without_length(clusterings) is clusterings[-1] and len(clusterings) == BLOCKS + 1


def test_agreement_with_the_template_grows_with_depth_as_built_in(clusterings):
    template = [variant.row("template").agreement.nmi.value for variant in by_block(clusterings)]
    assert template == sorted(template) and template[0] < 0.02 < 0.3 < template[-1]
    assert (
        by_block(clusterings)[0].row("template").p_corrected
        > 0.05
        > by_block(clusterings)[-1].row("template").p_corrected
    )


def test_the_learned_groups_under_another_name_do_not_differ_from_themselves(plan, evidence, clusterings):
    whole = {row.label.name: row for row in agreements(plan, evidence)}
    same = without_length(clusterings)
    for row in same.rows:
        assert row.agreement == whole[row.label.name].agreement
        assert row.p_corrected == whole[row.label.name].p_corrected
        assert max(map(abs, (row.change.value, row.change.low, row.change.high))) < EXACT


def test_a_change_is_the_nmi_less_that_of_the_learned_groups(evidence, clusterings):
    samples = split_samples(evidence, "test")
    learned = groups_of(evidence, "activation", samples.index)
    rows = evidence.variants[evidence.variants["block"] == 1].set_index("sample_id")
    groups = rows["group"].reindex(samples.index).to_numpy()
    for row in clusterings[1].rows:
        before, after = (normalized_mutual_information(labelling, row.label.codes) for labelling in (learned, groups))
        assert row.change.value == pytest.approx(after - before, abs=EXACT)


def test_without_learned_groups_or_variants_there_is_nothing_to_compare(plan, evidence):
    pooled = make_plan(schemes=("global",), routers={}, methods=make_plan().methods[:4])
    assert variants(pooled, make_evidence(2, 2, plan=pooled)) == []
    assert variants(plan, replace(evidence, variants=evidence.variants.iloc[:0])) == []
    assert without_length([]) is None


def test_a_sample_without_a_group_in_a_variant_is_refused(plan, evidence):
    broken = replace(evidence, variants=evidence.variants[evidence.variants["sample_id"] != "facts/test/3"])
    with pytest.raises(UserError, match=r"1 samples without a group.*cluster_variants\.parquet"):
        variants(plan, broken)
