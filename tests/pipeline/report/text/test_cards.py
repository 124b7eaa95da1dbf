"""The same rules say opposite things of opposite experiments, and no two cards can contradict each other."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.resampling import FEWEST_TASKS
from pipeline.report.text.cards import MOSTLY, NEGLIGIBLE, ONE_FIT, PARTLY, STABLE, cards, headline
from pipeline.report.text.decision import RELEVANT
from pipeline.report.text.rules import rules
from pipeline.statistics.bootstrap import Interval
from tests.pipeline.report.synthetic import make_evidence, make_plan, with_draws, with_kl


def answers(plan, findings):
    return {card.key: card for card in cards(plan, findings)}


def changed(findings, **changes):
    """The findings after changes of the test split's."""
    return replace(findings, splits={**findings.splits, "test": replace(findings.test, **changes)})


@pytest.fixture(scope="module")
def lost(plan):
    return find(plan, make_evidence(train=8, test=48, gain=-0.2, purity=0.0, plan=plan))


def test_a_gain_is_claimed_where_one_was_built_in(plan, findings):
    by_key = answers(plan, findings)
    assert (by_key["RQ2"].answer, by_key["RQ2"].tone) == (ONE_FIT, "yes")
    assert by_key["RQ1"].answer == "Yes: by template"
    words = headline(plan, findings)
    assert re.match(r"Routed clusters gain \d+\.\d \[\d+\.\d, \d+\.\d\] points at 25 to 65% sparsity", words)
    assert "Refit variance is not known" in " ".join(by_key["RQ2"].folded)  # one draw of random groups


def test_a_loss_is_called_a_loss_and_groups_without_meaning_follow_nothing(plan, lost):
    by_key = answers(plan, lost)
    assert (by_key["RQ2"].answer, by_key["RQ2"].tone) == ("No: worse", "no")
    assert by_key["RQ1"].answer == "Not by any label"
    assert by_key["RQ3"].answer == "Easily, but little depends on it"
    assert headline(plan, lost).startswith("Routed clusters lose ")


def test_no_effect_is_reported_with_what_the_intervals_rule_out_and_leads_the_page(plan):
    findings = find(plan, make_evidence(train=8, test=48, gain=0.0, plan=plan))
    card = answers(plan, findings)["RQ2"]
    assert re.match(r"No: smaller than \d\.\d points|Undecided: between", card.answer)
    assert headline(plan, findings).startswith("Routed clusters are not shown to beat one pooled profile: ")


def test_the_headline_names_what_a_better_pooled_allocation_gains():
    plan = with_kl(splits=("test",))
    findings = find(plan, make_evidence(2, 24, gain=0.0, plan=plan))
    assert re.search(
        r"; a better pooled allocation \(kl\) gains \d+\.\d \[\d+\.\d, \d+\.\d\]\.$", headline(plan, findings)
    )


def test_routing_matters_only_where_groups_gain(plan, findings, lost):
    assert answers(plan, findings)["RQ3"].answer in ("Yes", "Not well enough")
    assert "says little while groups are not shown to gain" in answers(plan, lost)["RQ3"].sentences[1]
    regrets = [replace(row, mean=Interval(0.05, 0.03, 0.07)) for row in findings.test.regrets]
    assert answers(plan, changed(findings, regrets=regrets))["RQ3"].answer == "Not well enough"
    regrets = [replace(row, mean=Interval(0.001, 0.0, 0.002)) for row in findings.test.regrets]
    assert answers(plan, changed(findings, regrets=regrets))["RQ3"].answer == "Yes"


@pytest.mark.parametrize(
    ("elsewhere", "answer", "words"),
    [
        (0.0, "Yes", "All 768 prompts that answer RQ2 went to their group, so mistakes cost nothing."),
        (0.004, "Yes", "Its mistakes cost at most 0.4% of the answers, as many as it sent elsewhere."),
        (0.02, "Not well enough", "Its mistakes cost at most 2.0% of the answers"),
    ],
)
def test_where_known_groups_were_not_run_what_was_sent_elsewhere_decides(plan, findings, elsewhere, answer, words):
    mean = Interval(0.0, 0.0, 0.0) if elsewhere == 0 else None
    regrets = [replace(row, mean=mean, elsewhere=elsewhere) for row in findings.test.regrets]
    card = answers(plan, changed(findings, regrets=regrets))["RQ3"]
    assert card.answer == answer and card.sentences[1].startswith(words)


@pytest.mark.parametrize(("stability", "answer"), [(0.3, "Not reproducible"), (None, "Stability unknown")])
def test_groups_that_are_not_reproducible_get_no_answer_to_what_they_follow(plan, findings, stability, answer):
    shaky = replace(findings, quality={**findings.quality, "stability": stability})
    assert answers(plan, shaky)["RQ1"].answer == answer


def test_a_gain_that_the_correction_takes_back_is_not_claimed(plan, findings):
    rows = [replace(row, p_corrected=0.3) for row in findings.test.gains]
    card = answers(plan, changed(findings, gains=rows))["RQ2"]
    assert (card.answer, card.tone) == ("Undecided: not after correction", "open")


def test_a_gain_that_random_groups_have_too_is_not_attributed_to_the_groups(plan, findings):
    rows = [replace(row, p_corrected=0.5) for row in findings.test.controls]
    card = answers(plan, changed(findings, controls=rows))["RQ2"]
    assert (card.answer, card.tone) == ("A gain, but random groups gain too", "open")


def test_a_gain_without_random_groups_is_a_gain_and_the_card_says_that_they_were_not_run(plan, findings, lost):
    def bare(findings):
        gains = [row for row in findings.test.gains if not row.method.is_control]
        return answers(plan, changed(findings, gains=gains, controls=[]))["RQ2"]

    assert (bare(findings).answer, bare(findings).tone) == (ONE_FIT, "yes")
    assert bare(findings).sentences[1] == "Random groups were not run: any groups might gain as much."
    assert (bare(lost).tone, len(bare(lost).sentences)) == ("no", 1)


def test_one_draw_of_random_groups_that_is_not_beaten_is_enough(plan, findings):
    rows = findings.test.controls
    again = [replace(row, p_corrected=0.5) for row in rows if row.method.is_routed]
    assert (
        answers(plan, changed(findings, controls=[*rows, *again]))["RQ2"].answer == "A gain, but random groups gain too"
    )


@pytest.fixture(scope="module")
def two_configurations():
    """A plan with groups on `greedy` and on `kl`, whose pooled profile is better; only groups on `greedy` gain."""
    plan = with_kl()
    return plan, find(plan, make_evidence(train=8, test=48, gain=0.2, plan=plan))


def test_the_configuration_with_the_best_pooled_profile_decides(two_configurations):
    plan, findings = two_configurations
    weaker = [row for row in findings.test.gains if row.method.name == "clustered_embedding"]
    assert weaker[0].is_claimed(plan.alpha) and weaker[0].mean.value > 0
    row = findings.deciding_gain
    assert (row.method.name, row.reference.name) == ("kl_embedding", "kl")
    card = answers(plan, findings)["RQ2"]
    assert card.tone != "yes" and "WINA + kl, routed clusters minus WINA + kl " in card.sentences[0]


def test_of_several_routed_methods_the_first_in_the_settings_decides_whichever_gains_more(plan, findings):
    assert findings.deciding_gain.method.name == "clustered_embedding"
    rows = [
        replace(row, mean=Interval(0.5, 0.4, 0.6)) if row.method.groups == "scores" else row
        for row in findings.test.gains
    ]
    assert changed(findings, gains=rows).deciding_gain.method.name == "clustered_embedding"


def test_fits_of_random_groups_are_the_scale_of_a_gain():
    plan = with_draws(splits=("test",))
    findings = find(plan, make_evidence(train=4, test=36, gain=0.3, plan=plan))
    folded = " ".join(answers(plan, findings)["RQ2"].folded)
    assert re.search(r"3 fits of random groups differ .* the gain is \d+\.\d times that and is beyond", folded)
    scales = {key: replace(scale, draws=(0.0, 0.05, 0.1)) for key, scale in findings.test.refit_variance.items()}
    assert "and is not beyond" in " ".join(answers(plan, changed(findings, refit_variance=scales))["RQ2"].folded)


@pytest.mark.parametrize(("half", "resolved"), [(0.0099, "1.0"), (0.0101, "1.1"), (0.021, "2.1")])
def test_the_resolved_difference_is_never_rounded_down(plan, findings, half, resolved):
    rows = [replace(row, at_targets=(Interval(0.0, -half, half),) * 4) for row in findings.test.gains]
    card = answers(plan, changed(findings, gains=rows))["RQ2"]
    assert f"A difference of {resolved} points is resolved at every target." in card.folded


def test_routed_groups_without_a_pooled_method_on_their_configuration_answer_nothing(plan):
    alone = tuple(replace(m, mask="topk") if m.scheme == "activation" else m for m in plan.methods)
    bare = replace(plan, methods=alone)
    findings = find(bare, make_evidence(2, 6, plan=bare))
    card = answers(bare, findings)["RQ2"]
    assert card.answer == "Not asked" and "pooled method" in card.sentences[0]
    assert headline(bare, findings).endswith(".")


def test_questions_that_nothing_was_run_for_are_not_answered():
    plan = make_plan(schemes=("global",), routers={}, methods=make_plan().methods[:4])
    by_key = answers(plan, find(plan, make_evidence(2, 4, plan=plan)))
    assert [by_key[key].answer for key in ("RQ1", "RQ2", "RQ3")] == ["Not asked"] * 3


def test_a_card_has_at_most_two_sentences_and_every_difference_has_its_interval(plan, findings, lost):
    for card in (*cards(plan, findings), *cards(plan, lost)):
        assert len(card.sentences) <= 2
        for sentence in (*card.sentences, *card.folded):
            for number in re.finditer(r"[+\N{MINUS SIGN}]\d+\.\d(?!\d)(?! ?\[)", sentence):
                before = sentence[: number.start()]
                assert before.count("[") > before.count("]"), f"{number.group()} has no interval: {sentence}"


def test_the_rules_name_the_thresholds_they_use(plan):
    text = " ".join(rules(plan))
    for number in (STABLE, MOSTLY, PARTLY, FEWEST_TASKS, f"{100 * RELEVANT:g}", f"{100 * NEGLIGIBLE:g}"):
        assert f" {number}" in text
    for part in ("700 replicates", "Holm", "resamples tasks", "params.yaml"):
        assert part in text
