"""The same rules say opposite things of opposite experiments."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.resampling import FEWEST_TASKS
from pipeline.report.text.groups import MOSTLY, PARTLY, STABLE
from pipeline.report.text.rules import rules
from pipeline.report.text.targets import FEWEST_TARGETS
from pipeline.report.text.verdicts import verdicts
from tests.pipeline.report.synthetic import make_evidence, make_plan, with_draws, with_kl
from tests.pipeline.report.verdict_text import verdict_text


def answers(plan, findings):
    return {verdict.key: verdict for verdict in verdicts(plan, findings)}


def answer_rq2(plan, findings, **changes):
    """RQ2's verdict after changes of the test split's findings."""
    test = replace(findings.test, **changes)
    return answers(plan, replace(findings, splits={**findings.splits, "test": test}))["RQ2"]


@pytest.fixture(scope="module")
def gained(plan, evidence):
    return answers(plan, find(plan, evidence))


@pytest.fixture(scope="module")
def lost(plan):
    return answers(plan, find(plan, make_evidence(train=8, test=48, gain=-0.2, purity=0.0, plan=plan)))


def test_a_gain_is_claimed_where_one_was_built_in(gained):
    # not known, because there is one draw of random groups
    assert (gained["RQ2"].tag, gained["RQ2"].tone) == ("Yes, refit variance not known", "mixed")
    assert "information that random groups do not" in verdict_text(gained["RQ2"])
    assert gained["RQ1"].tag == "Yes: by template"
    assert gained["RQ3"].tag.startswith("Yes: ")


def test_a_yes_is_qualified_unless_refit_variance_is_ruled_out():
    plan = with_draws(splits=("test",))
    findings = find(plan, make_evidence(train=4, test=36, gain=0.3, plan=plan))
    verdict = answer_rq2(plan, findings)
    assert (verdict.tag, verdict.tone) == ("Yes", "yes")
    assert re.search(r"gain of `clustered_scores` is \d+\.\d times", verdict_text(verdict))
    rows = [replace(row, scale=replace(row.scale, draws=(0.0, 0.05, 0.1))) for row in findings.test.refit_variance]
    verdict = answer_rq2(plan, findings, refit_variance=rows)
    assert (verdict.tag, verdict.tone) == ("Yes, refit variance not ruled out", "mixed")
    assert "not ruled out for `clustered_embedding` and `clustered_scores`" in verdict_text(verdict)


def test_a_loss_is_called_a_loss_and_groups_without_meaning_follow_nothing(lost):
    assert (lost["RQ2"].tag, lost["RQ2"].tone) == ("No: worse", "no")
    assert "rule out any gain" in verdict_text(lost["RQ2"])
    assert lost["RQ1"].tag == "Not by any label"
    assert lost["RQ3"].tag == "Little to lose by misrouting"


def test_no_effect_is_reported_with_what_the_interval_rules_out(plan):
    verdict = answer_rq2(plan, find(plan, make_evidence(train=8, test=48, gain=0.0, plan=plan)))
    assert (verdict.tag, verdict.tone) == ("No gain shown", "no")
    assert re.search(r"rule out a gain of more than \d\.\d points", verdict_text(verdict))


@pytest.mark.parametrize(("stability", "tag"), [(0.3, "Groups not reproducible"), (None, "Stability unknown")])
def test_groups_that_are_not_reproducible_get_no_answer_to_what_they_follow(plan, evidence, stability, tag):
    shaky = replace(evidence, quality={**evidence.quality, "stability": stability})
    assert answers(plan, find(plan, shaky))["RQ1"].tag == tag


def test_a_gain_that_the_correction_takes_back_is_not_claimed_and_named(plan, evidence):
    findings = find(plan, evidence)
    rows = [replace(row, p_corrected=0.3) if row.method.is_routed else row for row in findings.test.gains]
    verdict = answer_rq2(plan, findings, gains=rows)
    assert (verdict.tag, verdict.tone) == ("No gain shown", "no")
    (shown,) = (sentence for sentence in verdict.grounds if "5 comparisons with `greedy`" in sentence)
    assert "`clustered_oracle`" in shown and "above" in shown and "`clustered_scores`" not in shown
    assert "`clustered_embedding` and `clustered_scores` (each at most p = 0.30)" in verdict_text(verdict)


@pytest.mark.parametrize(
    ("rows", "tag"),
    [("equal", "A gain, but random groups are not beaten"), ("none", "A gain, but no random control was run")],
)
def test_a_gain_that_random_groups_may_have_too_is_not_attributed_to_the_groups(plan, evidence, rows, tag):
    findings = find(plan, evidence)
    controls = [replace(row, p_corrected=0.5) for row in findings.test.controls] if rows == "equal" else []
    configuration = findings.test.deciding
    if rows == "none":
        informative = tuple(method for method in configuration.methods if not method.is_control)
        configuration = replace(configuration, methods=informative)
    verdict = answer_rq2(plan, findings, controls=controls, deciding=configuration)
    assert (verdict.tag, verdict.tone) == (tag, "mixed")
    assert ("not shown to come from the groups" in verdict_text(verdict)) == (rows == "equal")


def test_a_second_router_that_loses_does_not_turn_an_unproven_gain_into_a_question_of_the_router(plan, evidence):
    findings = find(plan, evidence)
    routed = [row for row in findings.test.gains if row.method.is_routed]
    gain, loss = (replace(routed[0].mean, value=sign, low=sign - 0.1, high=sign + 0.1) for sign in (1.0, -1.0))
    rows = [replace(routed[0], mean=gain, p_corrected=0.01), replace(routed[1], mean=loss, p_corrected=0.01)]
    others = [row for row in findings.test.gains if not row.method.is_routed]
    controls = [replace(row, p_corrected=0.5) for row in findings.test.controls]
    for beaten, tag in ((controls, "A gain, but random groups are not beaten"), (None, "Depends on the router")):
        verdict = answer_rq2(plan, findings, gains=[*others, *rows], controls=beaten or findings.test.controls)
        assert verdict.tag == tag


def test_one_draw_of_random_groups_that_is_not_beaten_is_enough(plan, evidence):
    findings = find(plan, evidence)
    rows = findings.test.controls
    again = [replace(row, p_corrected=0.5) for row in rows if row.method.is_routed]
    verdict = answer_rq2(plan, findings, controls=[*rows, *again])
    assert verdict.tag == "A gain, but random groups are not beaten"


@pytest.fixture(scope="module")
def two_configurations():
    """A plan with groups on `greedy` and on `kl`, whose pooled profile is better; only groups on `greedy` gain."""
    plan = with_kl()
    return plan, find(plan, make_evidence(train=8, test=48, gain=0.2, plan=plan))


def test_the_configuration_with_the_best_pooled_profile_decides_and_other_gains_are_grounds(two_configurations):
    plan, findings = two_configurations
    weaker = [row for row in findings.test.gains if row.method.name == "clustered_embedding"]
    assert weaker[0].is_claimed(plan.alpha) and weaker[0].mean.value > 0
    verdict = answer_rq2(plan, findings)
    assert verdict.tag == "No gain shown"
    assert "WINA, kl" in verdict.grounds[0] and "`kl`" in verdict.grounds[0]
    assert "against `kl`" in verdict.sentences[0] and f"{findings.test.samples:,} test samples" in verdict.sentences[0]
    grounds = " ".join(verdict.grounds)
    assert re.search(r"`clustered_embedding` \+\d\.\d \[[^]]*\] over `greedy`", grounds)
    assert re.search(r"against `greedy`: .*`kl` \+\d\.\d \[", grounds)


def test_rq3_is_about_the_profiles_that_rq2_is_decided_on(two_configurations):
    plan, findings = two_configurations
    first, *others = answers(plan, findings)["RQ3"].sentences
    assert "`kl_oracle`" in first
    assert sum("regret" in sentence and "`embedding`" in sentence for sentence in others) == 1
    assert not any("`scores`" in sentence for sentence in others)


def test_a_gain_must_beat_the_random_groups_of_the_deciding_configuration(two_configurations):
    plan, findings = two_configurations
    gains = [
        replace(row, mean=replace(row.mean, value=0.02, low=0.01, high=0.03), p_corrected=0.01)
        if row.method.name == "kl_embedding"
        else row
        for row in findings.test.gains
    ]
    assert all(row.is_claimed(plan.alpha) for row in findings.test.controls if row.method.name == "clustered_embedding")
    for p, tag in ((0.5, "A gain, but random groups are not beaten"), (0.01, "Yes, refit variance not known")):
        controls = [
            replace(row, mean=replace(row.mean, value=0.02), p_corrected=p)
            if row.method.name == "kl_embedding"
            else row
            for row in findings.test.controls
        ]
        assert answer_rq2(plan, findings, gains=gains, controls=controls).tag == tag


def test_compute_is_given_once_where_pairs_have_nearly_the_same_and_for_each_pair_where_not(plan, evidence):
    findings = find(plan, evidence)
    first = answer_rq2(plan, findings).sentences[0]
    assert first.count("of the dense FLOPs remain") == 1 and "79 to 44%" in first and "4 targets" in first
    gains = [
        replace(row, savings=tuple(saving - 0.12 for saving in row.savings)) if row.method.groups == "scores" else row
        for row in findings.test.gains
    ]
    first, warning, *_ = answer_rq2(plan, findings, gains=gains).sentences
    assert re.search(r"`clustered_embedding` [^;]*79 to 44%.*; `clustered_scores` .*91 to 56%", first)
    assert "not on one scale" in warning


def test_targets_whose_interval_excludes_zero_are_counted_on_each_side(plan, evidence):
    findings = find(plan, evidence)
    (row,) = [row for row in findings.test.gains if row.method.name == "clustered_embedding"]
    text = verdict_text(answer_rq2(plan, findings))
    counts = f"`clustered_embedding` above zero at {row.above or 'none'} and below zero at {row.below or 'none'} of 4"
    assert row.above > 0 and counts in text


def test_routed_groups_without_a_pooled_method_on_their_configuration_answer_nothing(plan):
    alone = tuple(replace(m, mask="topk") if m.scheme == "activation" else m for m in plan.methods)
    bare = replace(plan, methods=alone)
    verdict = answer_rq2(bare, find(bare, make_evidence(2, 6, plan=bare)))
    assert verdict.tag == "Not asked" and "pooled method" in verdict.sentences[0]


def test_depth_and_length_are_described_from_the_numbers(plan, evidence, gained):
    text = verdict_text(gained["RQ1"])
    assert re.search(r"NMI with template is 0\.0\d \[[^]]*\] in the first and 0\.\d\d \[", text)
    assert re.search(r"in block 0, .* leads", text)  # chance decides there which label leads
    assert "regressed out" in text and "not shown to differ from before" in text and "ARI 1.00" in text
    bare = replace(evidence, variants=evidence.variants.iloc[:0])
    silent = verdict_text(answers(plan, find(plan, bare))["RQ1"])
    assert "Block" not in silent and "regressed out" not in silent


def test_a_label_that_only_some_blocks_follow_is_named_with_them(plan, evidence):
    samples = evidence.samples.set_index("sample_id")
    rows = evidence.variants.reset_index(drop=True)
    is_last = rows["block"] == 4
    rows.loc[is_last, "group"] = samples.loc[rows.loc[is_last, "sample_id"], "shots"].to_numpy()
    text = verdict_text(answers(plan, find(plan, replace(evidence, variants=rows)))["RQ1"])
    assert re.search(r"Block 4 .* solved examples in front.* \(NMI 1\.00 \[1\.00, 1\.00\]\)", text)
    assert "in blocks 0 and 4, " in text or "in block 4, " in text


def test_a_router_that_costs_accuracy_is_not_good_enough(plan):
    wrong = make_evidence(train=8, test=48, gain=0.4, plan=plan)
    results = {**wrong.results}
    for name in ("clustered_embedding", "clustered_scores"):
        rows = results["teal"]
        results[name] = rows.assign(method=name, group=results[name]["group"].to_numpy())
    assert answers(plan, find(plan, replace(wrong, results=results)))["RQ3"].tag == "No router is good enough"


def test_questions_that_nothing_was_run_for_are_not_answered():
    plan = make_plan(schemes=("global",), routers={}, methods=make_plan().methods[:4])
    by_key = answers(plan, find(plan, make_evidence(2, 4, plan=plan)))
    assert [by_key[key].tag for key in ("RQ1", "RQ2", "RQ3")] == ["Not asked"] * 3


def test_every_difference_in_a_verdict_has_its_interval(gained, lost):
    for verdict in (*gained.values(), *lost.values()):
        for sentence in (*verdict.sentences, *verdict.grounds):
            for number in re.finditer(r"[+\N{MINUS SIGN}]\d+\.\d(?!\d)(?! ?\[)", sentence):
                before = sentence[: number.start()]
                assert before.count("[") > before.count("]"), f"{number.group()} has no interval: {sentence}"


def test_the_rules_name_the_thresholds_they_use(plan):
    text = " ".join(rules(plan))
    for number in (STABLE, MOSTLY, PARTLY, FEWEST_TASKS, FEWEST_TARGETS):
        assert f" {number}" in text
    for part in ("700 replicates", "Holm", "bootstrap over tasks"):
        assert part in text
