"""RQ1's numbers against definitions, on labelings whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from pipeline.report.analysis.agreement import agreements, compositions, entanglement
from pipeline.report.analysis.evidence import groups_of, split_samples
from pipeline.report.analysis.labels import candidates, labels
from tests.pipeline.report.synthetic import make_evidence, make_plan

EXACT = 1e-12


def test_the_label_that_groups_follow_leads_and_random_groups_follow_none(plan, evidence):
    rows = agreements(plan, evidence)
    assert rows[0].label.name == "template"
    assert rows[0].agreement.nmi.low > rows[0].chance.nmi.high
    assert all(row.chance.nmi.value < 0.1 for row in rows)


def test_labels_that_groups_do_not_follow_have_large_p_values(plan, evidence):
    rows = {row.label.name: row for row in agreements(plan, evidence)}
    assert rows["template"].p_corrected == pytest.approx(len(rows) / (plan.bootstrap + 1))  # no permutation came near
    assert 0.05 < rows["computation"].p_corrected <= 1


def test_determined_is_mutual_information_over_the_entropy_of_the_groups(plan, evidence):
    samples = split_samples(evidence, "test")
    groups = groups_of(evidence, "activation", samples.index)
    entropy = mutual_info_score(groups, groups)
    for row in agreements(plan, evidence):
        assert row.determined == pytest.approx(mutual_info_score(groups, row.label.codes) / entropy, abs=EXACT)


def test_the_nmi_within_lengths_is_that_of_prompts_of_one_length_range(plan, evidence):
    samples = evidence.samples.assign(template=evidence.samples["shots"].map(lambda shots: f"wording {shots // 2}"))
    groups = evidence.assignments["activation"].assign(group=samples["shots"].to_numpy() // 2)
    copied = replace(evidence, samples=samples, assignments={**evidence.assignments, "activation": groups})
    row = next(row for row in agreements(plan, copied) if row.label.name == "template")
    assert row.agreement.nmi.value == pytest.approx(1.0, abs=EXACT)
    assert row.within_length == pytest.approx(1.0, abs=EXACT)  # one value on both sides: equal partitions


def test_a_composition_counts_every_sample_of_every_group_once(evidence):
    groups = evidence.assignments["activation"]
    sizes = np.bincount(groups["group"][groups["split"] == "test"])
    for composition in compositions(evidence, "activation"):
        assert composition.counts.sum(axis=1).tolist() == sizes.tolist()
        assert composition.counts.shape[1] == len(composition.label.values)


def test_crossed_labels_are_not_entangled_and_a_task_is_with_its_computation(evidence):
    split_labels, pairs = entanglement(evidence)
    at = {label.name: i for i, label in enumerate(split_labels)}
    assert pairs[at["computation"], at["template"]] < 0.01
    assert pairs[at["computation"], at["task"]] > 0.8


def test_labels_with_one_value_are_left_out(evidence):
    split_labels = labels(split_samples(evidence, "test"))
    assert "subject" not in split_labels
    assert set(candidates(split_labels)) == {"computation", "template", "shots", "length", "kind"}
    assert candidates({name: split_labels[name] for name in ("task", "length")}) == ["task", "length"]


def test_length_quarters_are_of_similar_size_and_named_by_their_ends(evidence):
    samples = split_samples(evidence, "test")
    label = labels(samples)["length"]
    assert label.values[0].startswith(str(samples["n_tokens"].min()))
    assert np.bincount(label.codes).min() > len(samples) / 8


def test_without_learned_groups_nothing_is_compared():
    plan = make_plan(schemes=("global",), routers={}, methods=make_plan().methods[:4])
    evidence = make_evidence(2, 2, plan=plan)
    assert agreements(plan, evidence) == []
