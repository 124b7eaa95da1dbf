"""The same rules say opposite things of opposite experiments."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.text.rules import rules
from pipeline.report.text.verdicts import verdicts
from tests.pipeline.report.synthetic import make_evidence, make_plan, with_draws, with_kl
from tests.pipeline.report.verdict_text import verdict_text


def judged(plan, evidence):
    return {verdict.key: verdict for verdict in verdicts(plan, find(plan, evidence))}


@pytest.fixture(scope="module")
def gained(plan, evidence):
    return judged(plan, evidence)


@pytest.fixture(scope="module")
def lost(plan):
    return judged(plan, make_evidence(train=8, test=48, gain=-0.2, purity=0.0, plan=plan))


def test_a_gain_is_claimed_where_one_was_built_in(gained):
    assert (gained["RQ2"].tag, gained["RQ2"].tone) == (
        "Yes, refit variance not known",
        "mixed",
    )  # one draw of random groups
    assert "information that random groups do not" in verdict_text(gained["RQ2"])
    assert gained["RQ1"].tag == "Yes: by template"
    assert gained["RQ3"].tag.startswith("Yes: ")


def test_a_yes_is_qualified_unless_it_is_beyond_what_fits_differ_by():
    plan = with_draws(splits=("test",))
    findings = find(plan, make_evidence(train=4, test=36, gain=0.3, plan=plan))
    found = rq2(plan, findings)
    assert (found.tag, found.tone) == ("Yes", "yes")
    assert re.search(r"the gain of `clustered_scores` is \d+\.\d times their standard", verdict_text(found))
    rows = [replace(row, scale=replace(row.scale, draws=(0.0, 0.05, 0.1))) for row in findings.test.refit_variance]
    test = replace(findings.test, refit_variance=rows)
    found = rq2(plan, replace(findings, splits={"test": test}))
    assert (found.tag, found.tone) == ("Yes, refit variance not ruled out", "mixed")
    assert "not ruled out for `clustered_embedding` and `clustered_scores`" in verdict_text(found)


def test_a_loss_is_called_a_loss_and_groups_without_meaning_follow_nothing(lost):
    assert (lost["RQ2"].tag, lost["RQ2"].tone) == ("No: worse", "no")
    assert "Any gain is ruled out" in verdict_text(lost["RQ2"])
    assert lost["RQ1"].tag == "Not by any label"
    assert lost["RQ3"].tag == "Little to lose by misrouting"


def test_no_effect_is_reported_with_what_the_interval_rules_out(plan):
    found = judged(plan, make_evidence(train=8, test=48, gain=0.0, plan=plan))["RQ2"]
    assert (found.tag, found.tone) == ("No gain shown", "no")
    assert re.search(r"rule out a gain of more than \d\.\d points", verdict_text(found))


@pytest.mark.parametrize(("stability", "tag"), [(0.3, "Groups not reproducible"), (None, "Stability unknown")])
def test_groups_that_are_not_reproducible_are_said_to_follow_nothing_for_sure(plan, evidence, stability, tag):
    shaky = replace(evidence, quality={**evidence.quality, "stability": stability})
    assert judged(plan, shaky)["RQ1"].tag == tag


def test_a_gain_that_the_correction_takes_back_is_not_claimed_and_named(plan, evidence):
    findings = find(plan, evidence)
    rows = [replace(row, p_corrected=0.3) if row.method.is_routed else row for row in findings.test.gains]
    test = replace(findings.test, gains=rows)
    found = {v.key: v for v in verdicts(plan, replace(findings, splits={**findings.splits, "test": test}))}["RQ2"]
    assert (found.tag, found.tone) == ("No gain shown", "no")
    text = verdict_text(found)
    assert "Not so `clustered_embedding` and `clustered_scores` (each at most p = 0.30): only the uncorrected" in text
    assert re.search(r"Corrected for 5 comparisons with `greedy` \(Holm\), .*`clustered_oracle`.* above it\.", text)


@pytest.mark.parametrize(
    ("rows", "tag"),
    [("level", "A gain, but random groups are not beaten"), ("none", "A gain, but no random control was run")],
)
def test_a_gain_that_random_groups_may_fraction_is_not_called_one_of_the_groups(plan, evidence, rows, tag):
    findings = find(plan, evidence)
    controls = [replace(row, p_corrected=0.5) for row in findings.test.controls] if rows == "level" else []
    configuration = findings.test.deciding
    if rows == "none":
        configuration = replace(
            configuration, methods=tuple(method for method in configuration.methods if not method.is_control)
        )
    test = replace(findings.test, controls=controls, deciding=configuration)
    found = {v.key: v for v in verdicts(plan, replace(findings, splits={**findings.splits, "test": test}))}["RQ2"]
    assert (found.tag, found.tone) == (tag, "mixed")
    assert ("not shown to come from what the groups mean" in verdict_text(found)) == (rows == "level")


def test_a_second_router_that_loses_does_not_turn_an_unproven_gain_into_a_question_of_the_router(plan, evidence):
    findings = find(plan, evidence)
    routed = [row for row in findings.test.gains if row.method.is_routed]
    gain, loss = (replace(routed[0].mean, value=sign, low=sign - 0.1, high=sign + 0.1) for sign in (1.0, -1.0))
    rows = [replace(routed[0], mean=gain, p_corrected=0.01), replace(routed[1], mean=loss, p_corrected=0.01)]
    others = [row for row in findings.test.gains if not row.method.is_routed]
    controls = [replace(row, p_corrected=0.5) for row in findings.test.controls]
    for beaten, tag in ((controls, "A gain, but random groups are not beaten"), (None, "Depends on the router")):
        test = replace(findings.test, gains=[*others, *rows], controls=beaten or findings.test.controls)
        found = {v.key: v for v in verdicts(plan, replace(findings, splits={**findings.splits, "test": test}))}["RQ2"]
        assert found.tag == tag


def test_one_draw_of_random_groups_that_is_not_beaten_is_enough(plan, evidence):
    findings = find(plan, evidence)
    rows = findings.test.controls
    again = [replace(row, p_corrected=0.5) for row in rows if row.method.is_routed]
    test = replace(findings.test, controls=[*rows, *again])
    found = {v.key: v for v in verdicts(plan, replace(findings, splits={**findings.splits, "test": test}))}["RQ2"]
    assert found.tag == "A gain, but random groups are not beaten"


@pytest.fixture(scope="module")
def two_configurations():
    """A plan with groups on `greedy` and on `kl`, whose pooled profile is better; only groups on `greedy` gain."""
    plan = with_kl()
    return plan, find(plan, make_evidence(train=8, test=48, gain=0.2, plan=plan))


def rq2(plan, findings):
    return {verdict.key: verdict for verdict in verdicts(plan, findings)}["RQ2"]


def test_the_rung_with_the_best_pooled_profile_decides_and_gains_on_a_weaker_one_are_only_told(two_configurations):
    plan, findings = two_configurations
    weaker = [row for row in findings.test.gains if row.method.name == "clustered_embedding"]
    assert weaker[0].is_claimed(plan.alpha) and weaker[0].mean.value > 0
    found = rq2(plan, findings)
    text = verdict_text(found)
    assert found.tag == "No gain shown"
    assert (
        "Decided on WINA, kl: of the configurations with routed groups its pooled profile, `kl`, is the most accurate"
        in text
    )
    samples = f"{findings.test.samples:,} test samples"
    assert f"Routed profiles against `kl` on {samples} at equal realised compute" in text
    assert re.search(
        r"On other configurations, which do not decide: `clustered_embedding` \+\d\.\d \[.*\] on `greedy`", text
    )
    assert re.search(r"Other pooled profiles against `greedy`: .*`kl` \+\d\.\d \[", text)


def test_rq3_is_about_the_profiles_that_rq2_is_decided_on(two_configurations):
    plan, findings = two_configurations
    found = {verdict.key: verdict for verdict in verdicts(plan, findings)}["RQ3"]
    assert "Regret is that of the profiles of `kl_oracle`" in found.sentences[0]
    assert sum("names the right group" in sentence for sentence in found.sentences) == 1


def test_a_gain_on_the_deciding_rung_needs_the_random_groups_of_that_rung_to_be_beaten(two_configurations):
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
        test = replace(findings.test, gains=gains, controls=controls)
        assert rq2(plan, replace(findings, splits={**findings.splits, "test": test})).tag == tag


def test_levels_are_said_once_where_routers_are_read_alike_and_one_by_one_where_they_are_not(plan, evidence):
    findings = find(plan, evidence)
    said = rq2(plan, findings).sentences
    assert any(
        "averaged over 4 levels, one a target, where 79 to 44% of the dense FLOPs remain, in" in one for one in said
    )
    gains = [
        replace(row, levels=tuple(level - 0.12 for level in row.levels)) if row.method.groups == "scores" else row
        for row in findings.test.gains
    ]
    test = replace(findings.test, gains=gains)
    said = verdict_text(rq2(plan, replace(findings, splits={**findings.splits, "test": test})))
    assert re.search(r"`clustered_embedding` [^;]*where 79 to 44%.*; `clustered_scores` .*where 91 to 56%", said)
    assert "means over other levels are not on one scale" in said


def test_levels_whose_interval_excludes_zero_are_counted_on_each_side(plan, evidence):
    findings = find(plan, evidence)
    (row,) = [row for row in findings.test.gains if row.method.name == "clustered_embedding"]
    text = verdict_text(rq2(plan, findings))
    expected = f"`clustered_embedding` above zero at {row.above or 'none'} and below at {row.below or 'none'} of 4"
    assert row.above > 0 and expected in text


def test_routed_groups_without_a_pooled_method_on_their_rung_answer_nothing(plan):
    alone = tuple(replace(m, mask="topk") if m.scheme == "activation" else m for m in plan.methods)
    bare = replace(plan, methods=alone)
    found = judged(bare, make_evidence(2, 6, plan=bare))["RQ2"]
    assert found.tag == "Not asked" and "pooled method of its configuration" in found.sentences[0]


def test_depth_and_length_are_told_from_the_numbers(plan, evidence, gained):
    text = verdict_text(gained["RQ1"])
    assert re.search(r"Block by block, NMI with template is 0\.0\d \[.*\] in the first and 0\.\d\d \[", text)
    assert "in block 0 " in text and " leads" in text  # chance decides there which label leads
    assert "With log prompt length regressed out" in text and "not shown to differ from before" in text
    assert "agree with the original ones with ARI 1.00" in text
    bare = replace(evidence, variants=evidence.variants.iloc[:0])
    silent = verdict_text(judged(plan, bare)["RQ1"])
    assert "Block" not in silent and "regressed out" not in silent


def test_a_label_that_only_some_blocks_follow_is_named_with_them(plan, evidence):
    samples = evidence.samples.set_index("sample_id")
    rows = evidence.variants.reset_index(drop=True)
    deep = rows["block"] == 4
    shots = samples.loc[rows.loc[deep, "sample_id"], "shots"].to_numpy()
    rows.loc[deep, "group"] = shots
    text = verdict_text(judged(plan, replace(evidence, variants=rows))["RQ1"])
    assert "Block 4 taken alone follows solved examples in front as well (NMI 1.00 [1.00, 1.00])" in text
    assert "in blocks 0 and 4 " in text or "in block 4 " in text


def test_a_router_that_costs_accuracy_is_not_good_enough(plan):
    wrong = make_evidence(train=8, test=48, gain=0.4, plan=plan)
    results = {**wrong.results}
    for name in ("clustered_embedding", "clustered_scores"):
        rows = results["teal"]
        results[name] = rows.assign(method=name, group=results[name]["group"].to_numpy())
    assert judged(plan, replace(wrong, results=results))["RQ3"].tag == "No router is good enough"


def test_questions_that_nothing_was_run_for_are_not_answered():
    plan = make_plan(schemes=("global",), routers={}, methods=make_plan().methods[:4])
    found = judged(plan, make_evidence(2, 4, plan=plan))
    assert [found[key].tag for key in ("RQ1", "RQ2", "RQ3")] == ["Not asked"] * 3


def test_every_difference_in_a_verdict_has_its_interval(gained, lost):
    for verdict in (*gained.values(), *lost.values()):
        for sentence in (*verdict.sentences, *verdict.grounds):
            for number in re.finditer(r"[+\N{MINUS SIGN}]\d+\.\d(?!\d)(?! ?\[)", sentence):
                before = sentence[: number.start()]
                assert before.count("[") > before.count("]"), f"{number.group()} has no interval: {sentence}"


def test_the_rules_name_the_thresholds_they_use(plan):
    text = " ".join(rules(plan))
    assert "0.6" in text
    assert "700 replicates" in text and "Holm" in text and "redraws tasks" in text
