"""The stages from signatures to thresholds and routes on a tiny model: tables fit, runs repeat, crashes resume."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.methods import MethodSettings
from pipeline.config.profiles import ProfileSettings
from pipeline.executors.processes import PROCESSES
from pipeline.profiles.profile import profile_array, profiles
from pipeline.storage.schemas import (
    ALLOCATION_COSTS,
    ALLOCATIONS,
    ASSIGNMENTS,
    CLUSTER_VARIANTS,
    GROUP_HISTOGRAMS,
    HELD_OUT,
    PROFILES,
    ROUTES,
    SAMPLES,
)
from stages import (
    aggregate,
    allocate,
    allocate_greedy,
    capture,
    cluster,
    gradient_clusters,
    manifest,
    profile,
    route,
    weights,
)
from stages.inputs import paths
from stages.inputs.allocation import group_texts
from stages.inputs.model import load_model
from tests.settings import full as full_settings
from tests.wina_amp.thresholds.realised import realised
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.models.projections import projections
from wina_amp.routing.router import load_router

SCHEMES = ("global", "activation", "task", "computation", "template", "length", "random", "random1", "random2")
PROFILE_SETS = ("wina", "greedy", "kl", "clustered", "greedy_clustered", "cats", "kl_template", "kl_clustered")
GRADIENT_SCHEMES = ("gradient", "gradient_random", "gradient_random1", "gradient_random2")
TARGETS = (0.25, 0.4, 0.5, 0.65)
COUNT = 3


@pytest.fixture(scope="module")
def settings(tiny_llama):
    """Settings for the tiny model, three clusters and coarse greedy steps."""
    full = full_settings()
    return replace(
        full,
        model=replace(full.model, path=str(tiny_llama), device="cpu"),
        tokens=replace(full.tokens, batch=100),
        cluster=replace(full.cluster, count=COUNT),
        allocate=replace(
            full.allocate,
            greedy_step=0.5,
            greedy_tokens=40,
            kl_steps=4,
            kl_tokens=160,
        ),
        learn=replace(full.learn, targets=(0.5, 0.65), warm_steps=2, steps=3, batch=6),
        gradient=replace(full.gradient, pooled=("kl",), targets=TARGETS[2:], counts=(2, 3)),
        evaluate=replace(full.evaluate, targets=TARGETS),
        capture=replace(full.capture, criteria=("teal", "wina", "learned", "cats")),
        profiles=full.profiles
        | {
            "cats": ProfileSettings("activation", "cats", "uniform", "group_histograms/activation"),
            "random": ProfileSettings("random", "wina", "greedy", "group_histograms/random"),
            "kl": ProfileSettings("global", "learned", "kl", "group_histograms/global"),
            "kl_template": ProfileSettings("template", "learned", "kl", "allocations/kl"),
            "kl_clustered": ProfileSettings("activation", "learned", "kl", "allocations/kl"),
        },
        # The default run evaluates neither; stage export knows them.
        methods=full.methods
        | {
            "clustered_scores": MethodSettings("clustered", "routes/scores", "threshold"),
            "clustered_oracle": MethodSettings("clustered", "assignments/activation", "threshold"),
        },
    )


def sample_rows(count: int = 30) -> pd.DataFrame:
    """Samples of three tasks, each with words of its own; the first two thirds are train samples."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        task, split = number % 3, "train" if 3 * number < 2 * count else "test"
        prompt = rng.integers(4 + 20 * task, 24 + 20 * task, 6 + number % 5).astype(np.int32)
        rows.append(
            {
                "sample_id": f"task{task}/{split}/{number}",
                "task": f"task{task}",
                "split": split,
                "doc_id": number,
                "doc_hash": str(number),
                "kind": "choice",
                "subject": "",
                "computation": f"c{task}",
                "template": f"s{number % 2}",
                "shots": number % 4,
                "prompt": "",
                "choices": ["a", "b"],
                "target": 0,
                "answer": "a",
                "prompt_ids": prompt,
                "answer_ids": np.array([5, 6], dtype=np.int32),
                "n_tokens": len(prompt),
            }
        )
    return pd.DataFrame(rows)


def run_all(settings, profile_sets=PROFILE_SETS) -> None:
    """Run the stages in the current folder."""
    SAMPLES.write(sample_rows(), paths.SAMPLES)
    manifest.main(settings)
    weights.main(settings)
    capture.main(settings)
    cluster.main(settings)
    for name in SCHEMES:
        aggregate.main(settings, name)
    for name in profile_sets:
        allocate.main(settings, name)
        profile.main(settings, name)
    if "kl" in profile_sets:
        gradient_clusters.main(settings, "kl")
        for name in GRADIENT_SCHEMES:
            aggregate.main(settings, name)
    for name, router in settings.route.routers.items():
        if router.scheme == "activation" or "kl" in profile_sets:
            route.main(settings, name)


@pytest.fixture(scope="module")
def done(settings, tmp_path_factory):
    """A folder in which the stages have run."""
    folder = tmp_path_factory.mktemp("pipeline")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all(settings)
        yield folder


def test_groups_with_the_pooled_sparsities_differ_from_it_in_thresholds_alone(done) -> None:
    pooled, own = (PROFILES.read(paths.profiles(name)) for name in ("greedy", "greedy_clustered"))
    assert sorted(set(own["group"])) == list(range(COUNT))
    key = ["target", "block", "projection"]
    joined = own.merge(pooled, on=key, suffixes=("", "_pooled"), validate="many_to_one")
    assert len(joined) == len(own) == COUNT * len(pooled)
    assert (joined["sparsity"] == joined["sparsity_pooled"]).all()
    assert (joined["threshold"] != joined["threshold_pooled"]).mean() > 0.5
    first = joined[(joined["block"] == 0) & joined["projection"].isin(["q", "k", "v"])]  # no mask acts before them
    spread = first.groupby(key)[["threshold", "threshold_pooled"]].agg(["min", "max"])
    between = (spread["threshold"]["min"] <= spread["threshold_pooled"]["min"]) & (
        spread["threshold_pooled"]["max"] <= spread["threshold"]["max"]
    )
    assert between.all(), "a quantile of all samples lies between those of parts of them"


def test_every_scheme_assigns_every_sample_and_random_has_the_sizes_of_the_clusters(done) -> None:
    tables = {name: ASSIGNMENTS.read(paths.assignments(name)) for name in SCHEMES}
    assert all(len(table) == 30 for table in tables.values())
    assert set(tables["global"]["group"]) == {0} and set(tables["template"]["group"]) == {0, 1}
    assert set(tables["task"]["group"]) == set(tables["computation"]["group"]) == {0, 1, 2}
    for split in ("train", "test"):
        matched = ("activation", "length", "random", "random1", "random2")
        rows = [tables[name][tables[name]["split"] == split] for name in matched]
        sizes = [np.bincount(table["group"], minlength=COUNT).tolist() for table in rows]
        assert sizes == sizes[:1] * len(matched)
    assert not tables["random1"]["group"].equals(tables["random2"]["group"])
    quality = json.loads(Path(paths.CLUSTER_QUALITY).read_text())
    assert quality["groups"] == COUNT and sum(quality["sizes_train"]) == 20
    assert set(quality["labels_test"]) == {"task", "computation", "template", "shots"}  # subject never varies


def test_every_block_and_length_removed_have_a_clustering_of_every_sample(done) -> None:
    rows = CLUSTER_VARIANTS.read(paths.CLUSTER_VARIANTS)
    sizes = rows.groupby(["variant", "block"]).size()
    assert sizes.to_dict() == {("block", 0): 30, ("block", 1): 30, ("length_removed", -1): 30}
    assert rows["group"].max() == COUNT - 1
    quality = json.loads(Path(paths.CLUSTER_QUALITY).read_text())["variants"]
    assert set(quality) == {"block 0", "block 1", "length_removed"}
    assert all(set(row) == {"groups", "silhouette", "stability"} for row in quality.values())


def test_a_scheme_of_labels_is_refused_where_a_sample_has_none_and_the_scheme_is_listed(
    settings, tmp_path, monkeypatch, done
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = sample_rows()
    rows.loc[rows["sample_id"] == "task1/test/22", "template"] = ""
    SAMPLES.write(rows, paths.SAMPLES)
    shutil.copytree(done / paths.SIGNATURES, paths.SIGNATURES)
    with pytest.raises(UserError, match=r"`template` needs a template label.*1 of 30 samples .*task1/test/22"):
        cluster.main(replace(settings, schemes=("global", "template")))
    assert not Path(paths.CLUSTER_QUALITY).exists()
    cluster.main(replace(settings, schemes=("global", "computation")))
    assert len(ASSIGNMENTS.read(paths.assignments("template"))) == 29
    SAMPLES.write(rows.assign(template=""), paths.SAMPLES)
    cluster.main(replace(settings, schemes=("global",)))
    assert len(ASSIGNMENTS.read(paths.assignments("template"))) == 0


def test_groups_partition_the_scores_of_the_pooled_histogram(done) -> None:
    pooled = GROUP_HISTOGRAMS.read(paths.group_histograms("global"))
    for scheme in SCHEMES[1:]:
        groups = GROUP_HISTOGRAMS.read(paths.group_histograms(scheme))
        keys = ["block", "projection", "criterion"]
        totals = groups.assign(scores=groups["counts"].map(np.sum)).groupby(keys)["scores"].sum()
        expected = pooled.assign(scores=pooled["counts"].map(np.sum)).groupby(keys)["scores"].sum()
        pd.testing.assert_series_equal(totals, expected)


def test_every_profile_set_has_an_allocation_and_a_threshold_for_every_group_and_target(settings, done) -> None:
    for name, groups in zip(PROFILE_SETS[:4], (1, 1, 1, COUNT + 1), strict=True):
        rows = PROFILES.read(paths.profiles(name))
        for target in settings.evaluate.targets:
            assert profile_array(rows, target, "threshold").shape == (groups, 2, 7)
    uniform, greedy = (ALLOCATIONS.read(paths.allocations(name)) for name in ("wina", "greedy"))
    assert (uniform["sparsity"] == uniform["target"]).all() and uniform["predicted_error"].isna().all()
    assert greedy["sparsity"].nunique() > len(settings.evaluate.targets) and greedy["predicted_error"].notna().all()


def test_kl_spends_one_budget_over_the_whole_model_and_resumes_behind_what_it_has_measured(
    settings, done, tiny_loaded, monkeypatch
) -> None:
    from wina_amp.allocation.loss.gradients import LossGradients

    path = Path(paths.allocations("kl"))
    allocations, written = ALLOCATIONS.read(path), path.read_bytes()
    costs = {
        (projection.block, projection.name): projection.gated_weights for projection in projections(tiny_loaded.model)
    }
    blocks = []
    for target, rows in allocations.groupby("target"):
        weights = [costs[projection] for projection in zip(rows["block"], rows["projection"], strict=True)]
        assert np.average(rows["sparsity"], weights=weights) == pytest.approx(target, abs=1e-9)
        assert rows["predicted_error"].nunique() == 1
        blocks.append(rows.groupby("block")["sparsity"].mean().to_numpy())
    assert np.abs(np.diff(blocks, axis=1)).max() > 0.01  # blocks need not meet the target one by one

    asked = []
    original = LossGradients.at

    def counted(self, sparsity, picked):
        asked.append(1)
        if len(asked) == 10:
            raise KeyboardInterrupt
        return original(self, sparsity, picked)

    monkeypatch.setattr(LossGradients, "at", counted)
    other = replace(settings, seed=settings.seed + 1)  # because the finished parts of this one are kept
    with pytest.raises(KeyboardInterrupt):
        allocate.main(other, "kl")
    allocate.main(other, "kl")
    resumed = path.read_bytes()
    costs = ALLOCATION_COSTS.read(paths.allocation_costs("kl"))
    steps, compared = 4 * len(TARGETS), 3 * len(TARGETS) - 2  # the lowest and the highest target have no mean
    assert costs["evaluations"].tolist() == [steps + compared]  # as if it had not been interrupted
    assert len(asked) == 10 + steps - 8  # two descents were finished
    monkeypatch.setattr(LossGradients, "at", original)
    allocate.main(settings, "kl")
    assert path.read_bytes() == written != resumed


@pytest.mark.tried("equal-bytes", "right")
@pytest.mark.parametrize("name", ["kl", "kl_template", "clustered"])
def test_two_processes_allocate_what_one_does(settings, done, monkeypatch, name: str) -> None:
    path, costs_path = (Path(path(name)) for path in (paths.allocations, paths.allocation_costs))
    before = path.read_bytes(), costs_path.read_bytes()
    shutil.rmtree(Path(".scratch") / f"allocate@{name}")
    monkeypatch.setenv(PROCESSES, "2")
    allocate.main(settings, name)
    assert (path.read_bytes(), costs_path.read_bytes()) == before


def test_every_group_states_what_its_allocation_took(settings, done) -> None:
    costs = {name: ALLOCATION_COSTS.read(paths.allocation_costs(name)).set_index("group") for name in PROFILE_SETS}
    assert all(sorted(rows.index) == list(range(len(rows))) for rows in costs.values())
    assert [len(costs[name]) for name in PROFILE_SETS] == [1, 1, 1, COUNT + 1, COUNT, COUNT, 2 + 1, COUNT + 1]
    for name in ("wina", "greedy_clustered", "cats"):  # nothing was run
        assert not costs[name][["tokens", "evaluations"]].to_numpy().any()
    for name, groups in (("greedy", 1), ("kl", 1), ("clustered", COUNT)):
        assert (costs[name].loc[: groups - 1, ["tokens", "evaluations"]] > 0).all(axis=None)


def test_groups_that_start_from_a_pooled_allocation_have_it_as_their_last_group(settings, done) -> None:
    for name, start, groups in (
        ("kl_template", "kl", 2),
        ("kl_clustered", "kl", COUNT),
        ("clustered", "greedy", COUNT),
    ):
        pooled = PROFILES.read(paths.profiles(start))
        allocations = ALLOCATIONS.read(paths.allocations(name))
        strengths = allocations.groupby("group")["strength"].unique()
        assert (
            len(strengths) == groups + 1
            and all(len(strength) == 1 for strength in strengths)
            and strengths[groups][0] == 0
        )
        for target in TARGETS:
            expected = profile_array(pooled, target, "threshold")[0]
            array = profile_array(PROFILES.read(paths.profiles(name)), target, "threshold")
            np.testing.assert_array_equal(array[groups], expected)
            sparsity = profile_array(allocations, target, "sparsity")
            for group in np.flatnonzero([strength[0] == 0 for strength in strengths]):
                np.testing.assert_array_equal(sparsity[group], sparsity[groups])


@pytest.mark.parametrize("name", ["wina", "kl", "kl_clustered", "cats"])
def test_every_projection_of_every_group_meets_its_sparsity_on_the_groups_train_text(settings, done, name) -> None:
    used, rows, loaded = settings.profiles[name], PROFILES.read(paths.profiles(name)), load_model(settings.model)
    options = {"dense_prefix": settings.tokens.dense_prefix, "budget": settings.tokens.batch}
    for target in sorted(set(rows["target"])):
        limits, sparsity = (profile_array(rows, target, column) for column in ("threshold", "sparsity"))
        for group in range(COUNT if used.scheme == "activation" else 1):
            own = group_texts(used.scheme, group, settings.seed)
            texts = [replace(text, answer_ids=text.answer_ids[:-1]) for text in own]
            masked = realised(loaded, texts, used.criterion, limits[group], **options)
            np.testing.assert_allclose(masked, sparsity[group], rtol=0, atol=0.005)


def test_calibration_on_the_dense_model_takes_quantiles_of_the_histograms(settings, done) -> None:
    def dense(name: str) -> pd.DataFrame:
        before = Path(paths.profiles(name)).read_bytes()
        of_dense = {name: replace(settings.profiles[name], calibration="dense")}
        profile.main(replace(settings, profiles=settings.profiles | of_dense), name)
        rows = PROFILES.read(paths.profiles(name))
        Path(paths.profiles(name)).write_bytes(before)
        return rows

    histograms = GROUP_HISTOGRAMS.read(paths.group_histograms("activation"))
    bins = Bins(settings.capture.mantissa_bits)
    allocations = ALLOCATIONS.read(paths.allocations("greedy_clustered"))
    expected = profiles(allocations, histograms, criterion=settings.profiles["greedy_clustered"].criterion, bins=bins)
    columns = ["group", "target", "block", "projection", "threshold"]
    pd.testing.assert_frame_equal(dense("greedy_clustered")[columns], expected[columns])
    pooled, groups = dense("kl"), dense("kl_clustered")  # these read the pooled histograms
    for target in TARGETS:
        array = profile_array(groups, target, "threshold")
        np.testing.assert_array_equal(array[COUNT], profile_array(pooled, target, "threshold")[0])


def test_a_calibration_that_crashed_continues_with_the_groups_that_are_missing(settings, done, monkeypatch) -> None:
    from wina_amp.thresholds import as_run

    path = Path(paths.profiles("clustered"))
    before, calibrated, original = path.read_bytes(), [], as_run.thresholds_as_run

    def counted(*args, **kwargs):
        calibrated.append(1)
        if len(calibrated) == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(as_run, "thresholds_as_run", counted)
    shutil.rmtree(Path(".scratch") / "profile@clustered")
    with pytest.raises(KeyboardInterrupt):
        profile.main(settings, "clustered")
    profile.main(settings, "clustered")
    assert len(calibrated) == (COUNT + 1) * len(TARGETS) + 1 and path.read_bytes() == before


def test_cats_has_a_profile_of_one_mask_a_block_at_the_targets_it_can_reach(settings, done, caplog) -> None:
    # up and down hold 0.4 of the tiny model's weights: 0.25 of all is 0.625 of theirs, and 0.4 is all of them.
    rows = ALLOCATIONS.read(paths.allocations("cats"))
    assert set(rows["projection"]) == {"down"} and set(rows["target"]) == {0.25, 0.4}
    np.testing.assert_allclose(rows["sparsity"], rows["target"] / 0.4, rtol=1e-12)
    assert profile_array(PROFILES.read(paths.profiles("cats")), 0.25, "threshold").shape == (3, 2, 1)
    allocate.main(settings, "cats")
    assert "`cats` can mask 0.400 of the weights: no allocation at 0.5, 0.65" in caplog.text


def test_cats_without_a_target_in_reach_is_refused(settings, done) -> None:
    high = replace(settings, evaluate=replace(settings.evaluate, targets=(0.5, 0.65)))
    with pytest.raises(
        UserError, match=r"at most 0\.400, the fraction .* `cats` can mask.*0\.5, 0\.65.*`profiles\.cats`"
    ):
        allocate.main(high, "cats")


def test_gradient_groups_hold_every_sample_and_random_ones_have_their_sizes(settings, done) -> None:
    tables = {name: ASSIGNMENTS.read(paths.assignments(name)) for name in GRADIENT_SCHEMES}
    quality = json.loads(Path(paths.GRADIENT_QUALITY).read_text())
    assert quality["groups"] in settings.gradient.counts and sum(quality["sizes_train"]) == 20
    assert [gain["count"] for gain in quality["gains"]] == list(settings.gradient.counts)
    assert set(quality["schemes"]) == {"activation", "task", "computation", "template", "gradient_random"}
    for split in ("train", "test"):
        sizes = [np.bincount(table["group"][table["split"] == split]).tolist() for table in tables.values()]
        assert all(size == sizes[0] for size in sizes) and sum(sizes[0]) == (20 if split == "train" else 10)
        assert sizes[0] == quality[f"sizes_{split}"][: len(sizes[0])]


def test_two_processes_find_the_gradient_groups_of_one(settings, done, monkeypatch) -> None:
    before = [Path(paths.assignments(name)).read_bytes() for name in GRADIENT_SCHEMES]
    shutil.rmtree(Path(".scratch") / "gradient_clusters@kl")
    monkeypatch.setenv(PROCESSES, "2")
    gradient_clusters.main(settings, "kl")
    assert before == [Path(paths.assignments(name)).read_bytes() for name in GRADIENT_SCHEMES]


@pytest.mark.tried("damage", "recomputed")
def test_damaged_gradients_and_measurements_of_an_allocation_are_made_again(settings, done, caplog) -> None:
    names = [*map(paths.assignments, GRADIENT_SCHEMES), paths.allocations("kl")]
    before = [Path(name).read_bytes() for name in names]
    parts = [
        *sorted(Path(".scratch/gradient_clusters@kl").rglob("*.npy")),
        *sorted(Path(".scratch/allocate@kl").rglob("*.json"))[::5],
    ]
    for part in parts:
        part.write_bytes(part.read_bytes()[:-1])
    allocate.main(settings, "kl")
    gradient_clusters.main(settings, "kl")
    assert before == [Path(name).read_bytes() for name in names]
    assert caplog.text.count("is damaged and made again") == len(parts) > 3


def test_more_gradient_groups_than_the_samples_allow_are_refused(settings, done) -> None:
    many = replace(settings, gradient=replace(settings.gradient, counts=(2, 11)))
    with pytest.raises(UserError, match=r"`gradient\.counts` must leave 2 train samples.*11 groups for 20 train"):
        gradient_clusters.main(many, "kl")


def test_routers_know_the_train_samples_and_cost_something(settings, done) -> None:
    for name, router in settings.route.routers.items():
        truth = ASSIGNMENTS.read(paths.table(router.groups_from)).set_index("sample_id")
        count = truth["group"].max() + 1
        routes = ROUTES.read(paths.routes(name)).set_index("sample_id")
        train = truth.index[truth["split"] == "train"]
        assert (routes.loc[train, "group"] == truth.loc[train, "group"]).mean() > 0.9
        assert (routes["flops"] > 0).all() and all(len(row) == count for row in routes["probabilities"])
        assert load_router(paths.router_weights(name))[1]["router"] == router.reads
        held_out = HELD_OUT.read(paths.held_out(name))
        assert held_out.groupby("label").size().to_dict() == {"template": 10, "task": 10}
        assert held_out["group"].between(0, count - 1).all()


@pytest.mark.tried("equal-bytes", "right")
def test_a_second_run_elsewhere_writes_the_same_bytes(settings, done, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_all(settings)
    written = [path.relative_to(done) for path in sorted((done / "data").rglob("*")) if path.is_file()]
    assert len(written) > 15
    for path in written:
        assert (tmp_path / path).read_bytes() == (done / path).read_bytes(), path


def test_an_interrupted_allocation_resumes_behind_the_finished_parts(settings, done, monkeypatch) -> None:
    from wina_amp.allocation.greedy import blockwise

    path = Path(paths.allocations("random"))
    searched = []
    original = blockwise.block_paths

    def counted(*args, **kwargs):
        searched.append(1)
        if len(searched) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    costs_path = Path(paths.allocation_costs("random"))
    monkeypatch.setattr(blockwise, "block_paths", counted)
    with pytest.raises(KeyboardInterrupt):
        allocate.main(settings, "random")
    assert not path.exists()
    allocate.main(settings, "random")
    parts = COUNT * allocate_greedy.SHARES
    assert len(searched) == 1 + 1 + (parts - 1)  # the first part, the one interrupted, those that were missing
    costs = costs_path.read_bytes()
    fewer = replace(settings, evaluate=replace(settings.evaluate, targets=(0.3, max(TARGETS))))
    allocate.main(fewer, "random")
    assert len(searched) == parts + 1  # other targets up to the same highest one reuse the paths
    assert costs_path.read_bytes() == costs  # and state what they took


def test_more_clusters_than_samples_leaves_earlier_outs_alone(settings, done) -> None:
    before = Path(paths.CLUSTER_QUALITY).read_bytes()
    with pytest.raises(UserError, match="21 clusters for 20 samples"):
        cluster.main(replace(settings, cluster=replace(settings.cluster, count=21)))
    assert Path(paths.CLUSTER_QUALITY).read_bytes() == before


def test_test_samples_of_a_task_that_does_not_calibrate_have_no_group_of_the_task_scheme(
    settings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = sample_rows()
    SAMPLES.write(rows[(rows["task"] != "task2") | (rows["split"] == "test")], paths.SAMPLES)
    manifest.main(settings)
    weights.main(settings)
    capture.main(settings)
    cluster.main(settings)
    task, activation = (ASSIGNMENTS.read(paths.assignments(name)) for name in ("task", "activation"))
    assert not task["sample_id"].str.startswith("task2").any() and task["sample_id"].str.startswith("task1").any()
    assert activation["sample_id"].str.startswith("task2/test").any()
