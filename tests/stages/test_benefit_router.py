"""The stage benefit_router on a tiny model: benefits, the same bytes again, and an export with the same routes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config.methods import MethodSettings
from pipeline.executors.processes import PROCESSES
from pipeline.profiles.profile import profile_array
from pipeline.routing.benefits import benefits, text_divergences
from pipeline.storage.schemas import BENEFITS, HELD_OUT, PROFILES, RESULTS, ROUTES, SAMPLES
from stages import benefit_router, export
from stages.inputs import paths
from tests.stages.test_export import _results
from tests.stages.test_group_stages import COUNT, run_all
from tests.stages.test_group_stages import settings as settings  # a fixture
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import sparsify_
from wina_amp.routing.router import load_router
from wina_amp.tokens.samples import tokenized_samples

TARGETS = (0.4, 0.65)
ROUNDING = 1e-4
"""Of log ratios of order 1: float32 divergences of samples that were batched otherwise."""


@pytest.fixture(scope="module")
def chosen(settings):
    """Settings with a benefit router over learned groups, and a method that uses it."""
    own = settings.profiles["clustered"]
    return replace(
        settings,
        profiles=settings.profiles | {"with_pooled": own},
        route=replace(
            settings.route,
            benefit_routers={"benefit": "with_pooled"},
            benefit_targets=TARGETS,
        ),
        methods=settings.methods | {"chosen": MethodSettings("with_pooled", "routes/benefit", "threshold")},
    )


@pytest.fixture(scope="module")
def here(chosen, tmp_path_factory):
    """A folder in which the stages before have run; the groups' profiles and behind them a pooled one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("benefit"))
        run_all(chosen, ("wina", "greedy", "clustered"))
        PROFILES.write(
            PROFILES.read(paths.profiles("clustered")).assign(profile="with_pooled"), paths.profiles("with_pooled")
        )
        benefit_router.main(chosen, "benefit")
        yield Path.cwd()


def test_every_sample_is_sent_to_a_group_or_to_the_pooled_profile_at_a_cost(here) -> None:
    routes = ROUTES.read(paths.routes("benefit"))
    assert len(routes) == 30 and set(routes["group"]) <= set(range(COUNT + 1))
    outputs = np.stack(routes["probabilities"].to_list())
    assert outputs.shape == (30, COUNT + 1) and (outputs.argmax(axis=1) == routes["group"]).all()
    tokens = SAMPLES.read(paths.SAMPLES).set_index("sample_id")["n_tokens"].loc[routes["sample_id"]].to_numpy()
    np.testing.assert_allclose(routes["flops"], tokens * 32 + (tokens - 1) * 64 + 2 * 64 * (COUNT + 1))
    facts = load_router(paths.router_weights("benefit"))[1]
    assert (facts["router"], facts["profile"]) == ("benefit", "with_pooled")


def test_benefits_are_those_of_the_profiles_at_its_targets(here, chosen, tiny_loaded) -> None:
    rows = BENEFITS.read(paths.benefits("benefit")).set_index("sample_id")
    assert len(rows) == 30  # all train samples, and no more test samples than there are
    table = PROFILES.read(paths.profiles("with_pooled"))
    samples = SAMPLES.read(paths.SAMPLES)
    texts = tokenized_samples(samples)
    divergence = [
        text_divergences(
            tiny_loaded, texts, torch.from_numpy(profile_array(table, target, "threshold")),
            criterion="wina", dense_prefix=chosen.tokens.dense_prefix, budget=40,
        )
        for target in TARGETS
    ]  # fmt: skip
    expected = benefits(np.stack(divergence))
    measured = np.stack(rows["benefits"].loc[samples["sample_id"]].to_list())
    np.testing.assert_allclose(measured, expected, atol=ROUNDING)
    assert np.abs(measured).max() > 0.01


def test_no_more_test_samples_are_measured_than_train_samples_and_always_the_same(chosen) -> None:
    samples = pd.DataFrame(
        {
            "sample_id": [f"s{number:02d}" for number in range(40)],
            "split": ["train"] * 10 + ["test"] * 30,
            "prompt_ids": [np.array([3, 4])] * 40,
            "answer_ids": [np.array([5])] * 40,
        }
    )
    measured = benefit_router._measured(chosen, samples)
    assert measured[:10].tolist() == list(range(10)) and len(measured) == 20 and (np.diff(measured) > 0).all()
    shuffled = samples.sample(frac=1, random_state=0).reset_index(drop=True)
    again = shuffled["sample_id"][benefit_router._measured(chosen, shuffled)]
    assert set(again) == set(samples["sample_id"][measured])


def test_two_processes_measure_what_one_does(here, chosen, monkeypatch) -> None:
    path = paths.benefits("benefit")
    monkeypatch.setattr(benefit_router, "CHUNK", 5)
    tables = []
    for count in ("1", "2"):
        monkeypatch.setenv(PROCESSES, count)
        shutil.rmtree(".scratch/benefit_router@benefit")
        benefit_router.main(chosen, "benefit")
        tables.append(BENEFITS.read(path))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    monkeypatch.undo()
    benefit_router.main(chosen, "benefit")  # as it was, for the other tests


def test_tasks_and_templates_are_left_out_one_at_a_time(here) -> None:
    rows = HELD_OUT.read(paths.held_out("benefit"))
    assert rows.groupby("label").size().to_dict() == {"template": 10, "task": 10}
    assert rows["group"].between(0, COUNT).all()


def test_a_second_run_writes_the_same_bytes(here, chosen) -> None:
    written = [Path(path("benefit")) for path in (paths.routes, paths.router_weights, paths.benefits)]
    before = [path.read_bytes() for path in written]
    benefit_router.main(chosen, "benefit")
    assert [path.read_bytes() for path in written] == before


def test_its_export_chooses_the_same_and_names_the_pooled_profile(here, chosen, tiny_loaded) -> None:
    samples = SAMPLES.read(paths.SAMPLES)
    for method in ("dense", "chosen"):
        targets = (0.0,) if method == "dense" else chosen.evaluate.targets
        RESULTS.write(_results(samples, method, targets), paths.results(method))
    export.main(chosen, "chosen")
    profile_set = ProfileSet.from_pretrained(paths.profile_set("chosen"))
    groups = profile_set.description.groups
    assert groups[-1].name == "all samples" and groups[-1].samples == 20
    assert sum(group.samples for group in groups[:-1]) == 20 and len(groups) == COUNT + 1
    routes = ROUTES.read(paths.routes("benefit")).set_index("sample_id")["group"]
    with sparsify_(tiny_loaded.model, profile_set, sparsity=0.5) as sparse:
        for row in samples.itertuples():
            ids = torch.from_numpy(row.prompt_ids.astype(np.int64))[None]
            assert int(sparse.route(ids, torch.ones_like(ids))) == routes[row.sample_id]
