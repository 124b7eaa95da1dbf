"""`pipeline.routing.held_out`: a router never meets the label that it is asked about, and everything else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.routing.benefit_router_fit import fit_benefit_router
from pipeline.routing.held_out import ask_benefit_router, ask_labels, held_out
from wina_amp.routing.router_fit import fit_router

TEMPLATES = ["note", "talk"]


def samples(count=48) -> pd.DataFrame:
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "sample_id": [f"s{number:03d}" for number in numbers],
            "split": np.where(numbers % 4 == 3, "test", "train"),
            "task": [f"task{number // 4 % 3}" for number in numbers],
            "template": [TEMPLATES[number // 12 % 2] for number in numbers],
        }
    )


def test_routers_are_fitted_on_the_train_samples_of_all_other_values_and_asked_about_the_test_samples_of_this_one():
    table, asked = samples(), []

    def ask(kept, wanted):
        asked.append((kept, wanted))
        return np.full(wanted.sum(), len(asked) - 1)

    rows = held_out(table, ask)
    test = table[table["split"] == "test"]
    assert len(asked) == 3 + 2
    for label in ("task", "template"):
        of_label = rows[rows["label"] == label]
        assert sorted(of_label["sample_id"]) == sorted(test["sample_id"])
        for value, part in of_label.merge(table, on="sample_id").groupby(label, sort=False):
            kept, wanted = asked[part["group"].iloc[0]]
            assert part["group"].nunique() == 1
            assert set(table[kept]["split"]) == {"train"} and set(table[wanted]["split"]) == {"test"}
            assert value not in set(table[kept][label]) and set(table[wanted][label]) == {value}
            assert kept.sum() == ((table["split"] == "train") & (table[label] != value)).sum()


def test_a_label_that_is_missing_or_the_only_one_leaves_nothing_out():
    rows = held_out(samples().assign(template="", task="only"), lambda _kept, asked: np.zeros(asked.sum()))
    assert rows.empty and list(rows.columns) == ["label", "sample_id", "group"]


def test_a_task_without_train_samples_is_one_that_no_router_has_met():
    table = samples()
    table = table[(table["task"] != "task2") | (table["split"] == "test")].reset_index(drop=True)
    kept_sizes = []
    held_out(table, lambda kept, asked: (kept_sizes.append(int(kept.sum())), np.zeros(asked.sum()))[1])
    assert kept_sizes[2] == (table["split"] == "train").sum()


def test_a_group_that_is_left_out_with_its_samples_cannot_be_named():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 20)
    features = rng.normal(size=(60, 4)) + 3 * np.eye(4)[groups]
    kept = groups != 1
    groups_asked = ask_labels(features, groups, weight_decay=0.01)(kept, ~kept)
    assert set(groups_asked.tolist()) <= {0, 2}
    everyone = np.ones(60, dtype=bool)
    same = fit_router(features, groups, weight_decay=0.01).probabilities(features).argmax(axis=1)
    assert ask_labels(features, groups, weight_decay=0.01)(everyone, everyone).tolist() == same.tolist()


def test_a_gate_that_is_asked_is_the_gate_of_the_kept_samples():
    rng = np.random.default_rng(0)
    features, benefits = rng.normal(size=(60, 4)), rng.normal(size=(60, 3)) + 0.2
    kept = np.arange(60) < 40
    unknown = benefits.copy()
    unknown[~kept] = np.nan
    groups_asked = ask_benefit_router(features, unknown, seed=0)(kept, ~kept)
    fitted = fit_benefit_router(features[kept], benefits[kept], 0)
    assert groups_asked.tolist() == fitted.router.probabilities(features[~kept]).argmax(axis=1).tolist()
