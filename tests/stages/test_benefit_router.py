"""The stage gate on a tiny model: it chooses what pays, repeats its bytes, and its export chooses the same."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config import params
from pipeline.executors.processes import PROCESSES
from pipeline.profiles.profile import profile_array
from pipeline.routing.benefits import benefits, text_divergences
from pipeline.storage.schemas import BENEFITS, HELD_OUT, PROFILES, RESULTS, ROUTES, SAMPLES
from pipeline.tokens.samples import tokenized_samples
from stages import benefit_router, export
from tests.stages.test_export import _results
from tests.stages.test_group_stages import COUNT, run_all
from tests.stages.test_group_stages import settings as settings  # a fixture
from wina_amp.errors import UserError
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.routing.router import load_router

TARGETS = (0.4, 0.65)
ROUNDING = 1e-4
"""Of log ratios of order 1: float32 divergences of samples that were batched otherwise."""


@pytest.fixture(scope="module")
def gated(settings):
    """Settings with a benefit router over learned groups, and a method that uses it."""
    own = settings.profiles["clustered"]
    return replace(
        settings,
        profiles=settings.profiles | {"with_pooled": own},
        route=replace(
            settings.route, benefit_routers={"benefit": "with_pooled", "bare": "clustered"}, benefit_targets=TARGETS
        ),
        methods=settings.methods | {"gated": params.MethodSettings("with_pooled", "routes/benefit", "threshold")},
    )


@pytest.fixture(scope="module")
def here(gated, tmp_path_factory):
    """A folder in which the stages before have run; the groups' profiles and behind them a pooled one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("DVC_STAGE", raising=False)
        patch.chdir(tmp_path_factory.mktemp("benefit"))
        run_all(gated, ("wina", "clustered"))
        own, pooled = (PROFILES.read(benefit_router.PROFILES_PATH.format(name=name)) for name in ("clustered", "wina"))
        both = pd.concat([own, pooled.assign(group=COUNT)], ignore_index=True).assign(profile="with_pooled")
        PROFILES.write(both, benefit_router.PROFILES_PATH.format(name="with_pooled"))
        benefit_router.main(gated, "benefit")
        yield Path.cwd()


def test_every_sample_is_sent_to_a_group_or_to_the_pooled_profile_at_a_cost(here) -> None:
    routes = ROUTES.read(benefit_router.ROUTES_PATH.format(name="benefit"))
    assert len(routes) == 30 and set(routes["group"]) <= set(range(COUNT + 1))
    outputs = np.stack(routes["probabilities"].to_list())
    assert outputs.shape == (30, COUNT + 1) and (outputs.argmax(axis=1) == routes["group"]).all()
    tokens = (
        SAMPLES.read(benefit_router.SAMPLES_PATH).set_index("sample_id")["n_tokens"].loc[routes["sample_id"]].to_numpy()
    )
    np.testing.assert_allclose(routes["flops"], tokens * 32 + (tokens - 1) * 64 + 2 * 64 * (COUNT + 1))
    facts = load_router(benefit_router.ROUTER_PATH.format(name="benefit"))[1]
    assert (facts["router"], facts["profile"]) == ("benefit", "with_pooled")


def test_benefits_are_those_of_the_profiles_at_the_gates_targets(here, gated, tiny_loaded) -> None:
    rows = BENEFITS.read(benefit_router.BENEFITS_PATH.format(name="benefit")).set_index("sample_id")
    assert len(rows) == 30  # all train samples, and no more test samples than there are
    table = PROFILES.read(benefit_router.PROFILES_PATH.format(name="with_pooled"))
    samples = SAMPLES.read(benefit_router.SAMPLES_PATH)
    texts = tokenized_samples(samples)
    divergence = [
        text_divergences(
            tiny_loaded, texts, torch.from_numpy(profile_array(table, target, "threshold")),
            criterion="wina", dense_prefix=gated.tokens.dense_prefix, budget=40,
        )
        for target in TARGETS
    ]  # fmt: skip
    expected = benefits(np.stack(divergence))
    found = np.stack(rows["benefits"].loc[samples["sample_id"]].to_list())
    np.testing.assert_allclose(found, expected, atol=ROUNDING)
    assert np.abs(found).max() > 0.01


def test_no_more_test_samples_are_measured_than_train_samples_and_always_the_same(gated) -> None:
    samples = pd.DataFrame(
        {
            "sample_id": [f"s{number:02d}" for number in range(40)],
            "split": ["train"] * 10 + ["test"] * 30,
            "prompt_ids": [np.array([3, 4])] * 40,
            "answer_ids": [np.array([5])] * 40,
        }
    )
    found = benefit_router._measured(gated, samples)
    assert found[:10].tolist() == list(range(10)) and len(found) == 20 and (np.diff(found) > 0).all()
    shuffled = samples.sample(frac=1, random_state=0).reset_index(drop=True)
    again = shuffled["sample_id"][benefit_router._measured(gated, shuffled)]
    assert set(again) == set(samples["sample_id"][found])


def test_two_processes_measure_what_one_does(here, gated, monkeypatch) -> None:
    path = benefit_router.BENEFITS_PATH.format(name="benefit")
    monkeypatch.setattr(benefit_router, "CHUNK", 5)
    found = []
    for count in ("1", "2"):
        monkeypatch.setenv(PROCESSES, count)
        shutil.rmtree(".scratch/benefit_router@benefit")
        benefit_router.main(gated, "benefit")
        found.append(BENEFITS.read(path))
    pd.testing.assert_frame_equal(*found, check_exact=True)
    monkeypatch.undo()
    benefit_router.main(gated, "benefit")  # as it was, for the other tests


def test_tasks_and_wordings_are_left_out_one_at_a_time(here) -> None:
    rows = HELD_OUT.read(benefit_router.HELD_OUT_PATH.format(name="benefit"))
    assert rows.groupby("label").size().to_dict() == {"template": 10, "task": 10}
    assert rows["group"].between(0, COUNT).all()


def test_a_second_run_writes_the_same_bytes(here, gated) -> None:
    paths = [
        Path(path.format(name="benefit"))
        for path in (benefit_router.ROUTES_PATH, benefit_router.ROUTER_PATH, benefit_router.BENEFITS_PATH)
    ]
    before = [path.read_bytes() for path in paths]
    benefit_router.main(gated, "benefit")
    assert [path.read_bytes() for path in paths] == before


def test_its_export_chooses_the_same_and_names_the_pooled_profile(here, gated, tiny_loaded) -> None:
    samples = SAMPLES.read(benefit_router.SAMPLES_PATH)
    for method in ("dense", "gated"):
        targets = (0.0,) if method == "dense" else gated.evaluate.targets
        RESULTS.write(_results(samples, method, targets), f"data/results/{method}.parquet")
    export.main(gated, "gated")
    found = ProfileSet.load("data/profile_sets/gated")
    groups = found.description.groups
    assert groups[-1].name == "all samples" and groups[-1].samples == 20
    assert sum(one.samples for one in groups[:-1]) == 20 and len(groups) == COUNT + 1
    routes = ROUTES.read(benefit_router.ROUTES_PATH.format(name="benefit")).set_index("sample_id")["group"]
    with found.installed(tiny_loaded.model, target=0.5) as sparse:
        for row in samples.itertuples():
            ids = torch.from_numpy(row.prompt_ids.astype(np.int64))[None]
            assert int(sparse.route(ids, torch.ones_like(ids))) == routes[row.sample_id]


def test_a_profile_set_without_a_pooled_profile_and_an_unknown_gate_are_refused(here, gated) -> None:
    with pytest.raises(UserError, match=r"last group is the pooled profile.*Found: 3 profiles for the 3 groups of"):
        benefit_router.main(gated, "bare")
    known = r"benefit router must be one of bare, benefit\. Found: 'benefi'.* did you mean 'benefit'"
    with pytest.raises(UserError, match=known):
        benefit_router.main(gated, "benefi")
