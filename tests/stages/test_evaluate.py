"""The stages prepare and evaluate on a tiny model: tables fit, finished targets are kept, errors are clear."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config import params
from pipeline.config.methods import MethodSettings, PrimarySettings
from pipeline.config.profiles import ProfileSettings
from pipeline.evaluate import method
from pipeline.executors.processes import PROCESSES
from pipeline.storage.schemas import ASSIGNMENTS, PROFILES, RESULTS, ROUTES, SAMPLES
from stages import evaluate, manifest, prepare
from stages.inputs import paths
from tests.dvc.deps import ROOT
from tests.settings import full as full_settings
from wina_amp.errors import UserError

NAMES = ("q", "k", "v", "o", "gate", "up", "down")
TARGETS = (0.25, 0.5)
SPLITS = ("train", "test")
BATCHED = 1e-5
"""Log-likelihoods of the same sample in another batch differ by float32 rounding."""


@pytest.fixture
def settings(tiny_llama: Path, tiny_tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Settings:
    """Settings for the tiny model and tasks; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    full = full_settings()
    return replace(
        full,
        model=replace(full.model, path=str(tiny_llama), device="cpu"),
        benchmark=replace(
            full.benchmark, include=str(tiny_tasks), tasks=("pick", "write"), train_samples=3, test_samples=5
        ),
        tokens=replace(full.tokens, batch=100),
        evaluate=replace(full.evaluate, targets=TARGETS),
        methods=full.methods | {"clustered_oracle": MethodSettings("clustered", "assignments/activation", "threshold")},
    )


def make_inputs(settings: params.Settings) -> pd.DataFrame:
    """Samples, two groups known and routed, and thresholds that grow with the target and differ between groups."""
    manifest.main(settings)
    prepare.main(settings)
    samples = SAMPLES.read(paths.SAMPLES)
    groups = samples[["sample_id", "split"]].assign(group=np.arange(len(samples)) % 2)
    ASSIGNMENTS.write(groups.assign(scheme="activation", distance=0.0), paths.assignments("activation"))
    routed = groups.drop(columns="split").assign(router="embedding", flops=1000.0)
    routed["probabilities"] = [[0.5, 0.5]] * len(routed)
    ROUTES.write(routed, paths.routes("embedding"))
    PROFILES.write(
        pd.DataFrame(
            [
                ("clustered", group, target, block, name, target, (1 + group) * target)
                for group in range(2)
                for target in (*TARGETS, 0.65)
                for block in range(2)
                for name in NAMES
            ],
            columns=["profile", "group", "target", "block", "projection", "sparsity", "threshold"],
        ),
        paths.profiles("clustered"),
    )
    return samples


def _count_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    runs: list[int] = []
    real = method.evaluate

    def counted(*args, **kwargs):
        runs.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(method, "evaluate", counted)
    return runs


def test_prepare_writes_the_same_samples_twice(settings: params.Settings):
    manifest.main(settings)
    prepare.main(settings)
    first = Path(paths.SAMPLES).read_bytes()
    prepare.main(settings)
    assert Path(paths.SAMPLES).read_bytes() == first
    samples = SAMPLES.read(paths.SAMPLES)
    assert samples.groupby(["task", "split"]).size().to_dict() == {
        ("pick", "train"): 3, ("pick", "test"): 5, ("write", "train"): 3, ("write", "test"): 5,
    }  # fmt: skip


def test_the_dense_model_is_evaluated_once_at_target_zero(settings: params.Settings):
    samples = make_inputs(settings)
    evaluate.main(settings, "dense")
    results = RESULTS.read(paths.results("dense"))
    assert set(results["sample_id"]) == set(samples["sample_id"])
    assert set(results["target"]) == {0.0} and not results["realised_sparsity"].any()


def test_a_method_has_every_sample_at_every_target_and_a_router_is_paid_for(settings: params.Settings):
    samples = make_inputs(settings)
    evaluate.main(settings, "clustered_oracle")
    evaluate.main(settings, "clustered_routed")
    oracle = RESULTS.read(paths.results("clustered_oracle"))
    routed = RESULTS.read(paths.results("clustered_routed"))
    assert len(oracle) == len(TARGETS) * len(samples)
    assert oracle.groupby("target")["realised_sparsity"].mean().is_monotonic_increasing
    assert set(oracle["group"]) == {0, 1}
    # The routes are the true groups here, so the methods differ in nothing but the router's cost.
    pd.testing.assert_series_equal(routed["flops"], oracle["flops"] + 1000.0)
    same = ["target", "sample_id", "group", "score", "loglikelihood", "margin", "realised_sparsity", "dense_flops"]
    pd.testing.assert_frame_equal(routed[same], oracle[same], check_exact=True)


def _primary(settings: params.Settings, *methods: str, targets: tuple[float, ...] = (0.5,)) -> params.Settings:
    """Two of five test samples a task for every method, all five for `methods` at `targets`."""
    primary = PrimarySettings(methods, targets) if methods else None
    return replace(settings, evaluate=replace(settings.evaluate, test_samples=2, primary=primary))


def test_only_primary_methods_and_dense_have_samples_beyond_the_limit_and_only_at_primary_targets(
    settings: params.Settings,
):
    samples = make_inputs(settings)
    test = samples[samples["split"] == "test"]
    first = set(test.sort_values("doc_hash").groupby("task").head(2)["sample_id"])
    assert len(first) == 4 and len(test) == 10
    settings = _primary(settings, "clustered_oracle")
    for name in ("dense", "clustered_oracle", "clustered_routed"):
        evaluate.main(settings, name)
        results = RESULTS.read(paths.results(name))
        for target, rows in results.groupby("target"):
            is_primary = name == "dense" or (name == "clustered_oracle" and target == 0.5)
            expected = set(test["sample_id"]) if is_primary else first
            assert set(rows.loc[rows["split"] == "test", "sample_id"]) == expected
            assert set(rows.loc[rows["split"] == "train", "sample_id"]) == set(samples["sample_id"]) - set(
                test["sample_id"]
            )


def test_a_method_that_becomes_primary_computes_only_the_other_samples_and_finds_what_one_run_finds(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch
):
    make_inputs(settings)
    runs = _count_runs(monkeypatch)
    evaluate.main(_primary(settings), "clustered_oracle")
    assert len(runs) == len(TARGETS) * len(SPLITS)
    evaluate.main(_primary(settings, "teal", "clustered_oracle"), "clustered_oracle")
    assert len(runs) == len(TARGETS) * len(SPLITS) + 1
    grown = RESULTS.read(paths.results("clustered_oracle"))
    evaluate.main(_primary(settings, "teal"), "clustered_oracle")  # no longer primary: nothing is computed
    assert len(runs) == len(TARGETS) * len(SPLITS) + 1
    evaluate.main(settings, "clustered_oracle")
    whole = RESULTS.read(paths.results("clustered_oracle"))
    same = ["target", "sample_id", "group", "score", "loglikelihood", "margin", "realised_sparsity", "flops"]
    kept = whole.merge(grown[["target", "sample_id"]])
    assert len(kept) == len(grown) < len(whole)
    pd.testing.assert_frame_equal(grown[same], kept[same], rtol=BATCHED, atol=BATCHED)


def test_samples_in_several_parts_are_evaluated_once_each_as_they_would_be_together(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch
):
    make_inputs(settings)
    settings = _primary(settings, "clustered_oracle")
    runs = _count_runs(monkeypatch)
    evaluate.main(settings, "clustered_oracle")
    together, count = RESULTS.read(paths.results("clustered_oracle")), len(runs)
    monkeypatch.setattr(evaluate, "PORTION", 4)  # of six other test samples at one target: two parts
    evaluate.main(settings, "clustered_oracle")
    apart = RESULTS.read(paths.results("clustered_oracle"))
    # Splits of more than four samples are parts anew; the ten at the primary target are four, which stay, and the six.
    sizes = [rows["sample_id"].nunique() for _, rows in together.groupby(["target", "split"])]
    assert len(runs) == count + 2 + sum(-(-size // 4) for size in sizes if 4 < size < 10)
    order = ["target", "sample_id"]
    pd.testing.assert_frame_equal(
        apart.sort_values(order, ignore_index=True),
        together.sort_values(order, ignore_index=True),
        rtol=BATCHED,
        atol=BATCHED,
    )


def test_an_interrupted_primary_run_keeps_what_is_finished(settings: params.Settings, monkeypatch: pytest.MonkeyPatch):
    make_inputs(settings)
    primary = _primary(settings, "clustered_oracle", targets=TARGETS)
    real, parts = method.evaluate, len(TARGETS) * (len(SPLITS) + 1)
    with monkeypatch.context() as patch:
        calls = iter([real] * 2)
        patch.setattr(method, "evaluate", lambda *args, **kwargs: next(calls)(*args, **kwargs))
        with pytest.raises(StopIteration):
            evaluate.main(primary, "clustered_oracle")
    runs = _count_runs(monkeypatch)
    evaluate.main(primary, "clustered_oracle")
    assert len(runs) == parts - 2


def test_adding_a_target_computes_only_the_new_one(settings: params.Settings, monkeypatch: pytest.MonkeyPatch):
    make_inputs(settings)
    runs = _count_runs(monkeypatch)
    evaluate.main(settings, "clustered_oracle")
    before = RESULTS.read(paths.results("clustered_oracle"))
    assert len(runs) == 2 * len(SPLITS)
    more = replace(settings, evaluate=replace(settings.evaluate, targets=(*TARGETS, 0.65)))
    evaluate.main(more, "clustered_oracle")
    after = RESULTS.read(paths.results("clustered_oracle"))
    assert len(runs) == 3 * len(SPLITS)
    kept = after[after["target"].isin(TARGETS)].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before, check_exact=True)


def test_a_crash_costs_one_run_and_other_thresholds_are_never_picked_up(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch
):
    make_inputs(settings)
    real = method.evaluate
    with monkeypatch.context() as patch:
        calls = iter([real])
        patch.setattr(method, "evaluate", lambda *args, **kwargs: next(calls)(*args, **kwargs))
        with pytest.raises(StopIteration):
            evaluate.main(settings, "clustered_oracle")
    runs = _count_runs(monkeypatch)
    evaluate.main(settings, "clustered_oracle")
    assert len(runs) == 2 * len(SPLITS) - 1
    table = PROFILES.read(paths.profiles("clustered"))
    at_half = table["target"] == 0.5
    PROFILES.write(table.assign(threshold=table["threshold"] * (1 + at_half)), paths.profiles("clustered"))
    evaluate.main(settings, "clustered_oracle")
    assert len(runs) == 3 * len(SPLITS) - 1


@pytest.mark.tried("damage", "recomputed")
def test_parts_cut_short_and_emptied_are_evaluated_again(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    make_inputs(settings)
    evaluate.main(settings, "clustered_oracle")
    expected = Path(paths.results("clustered_oracle")).read_bytes()
    first, second, *_ = sorted(Path(".scratch/evaluate@clustered_oracle").rglob("*.parquet"))
    first.write_bytes(first.read_bytes()[:-1])
    second.write_bytes(b"")
    runs = _count_runs(monkeypatch)
    evaluate.main(settings, "clustered_oracle")
    assert len(runs) == 2 and caplog.text.count("is damaged and made again") == 2
    assert Path(paths.results("clustered_oracle")).read_bytes() == expected


def test_two_processes_find_what_one_finds(settings: params.Settings, monkeypatch: pytest.MonkeyPatch):
    make_inputs(settings)
    evaluate.main(settings, "clustered_oracle")
    alone = RESULTS.read(paths.results("clustered_oracle"))
    shutil.rmtree(".scratch")
    monkeypatch.setenv(PROCESSES, "2")
    evaluate.main(settings, "clustered_oracle")
    together = RESULTS.read(paths.results("clustered_oracle"))
    pd.testing.assert_frame_equal(together, alone, check_exact=True)


def test_topk_reads_the_sparsities_of_the_same_profiles_and_never_picks_up_the_results_of_thresholds(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch
):
    make_inputs(settings)
    runs = _count_runs(monkeypatch)
    evaluate.main(settings, "clustered_oracle")
    ranked = replace(settings.methods["clustered_oracle"], mask="topk")
    evaluate.main(replace(settings, methods=settings.methods | {"clustered_oracle": ranked}), "clustered_oracle")
    assert len(runs) == 2 * len(TARGETS) * len(SPLITS)
    results = RESULTS.read(paths.results("clustered_oracle"))
    # Both targets leave whole features of 32 and 48 inputs, so nothing is rounded.
    np.testing.assert_allclose(results["realised_sparsity"], results["target"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("mask", ["threshold", "topk"])
def test_cats_is_evaluated_at_the_targets_that_its_profiles_reach(settings: params.Settings, mask: str, caplog):
    samples = make_inputs(settings)
    # up and down hold 0.4 of the weights: all of their masks at 0.75 are 0.3 of the whole.
    profile = pd.DataFrame(
        [("cats", group, 0.25, block, "down", 0.75, 0.2) for group in range(2) for block in range(2)],
        columns=["profile", "group", "target", "block", "projection", "sparsity", "threshold"],
    )
    PROFILES.write(profile, paths.profiles("cats"))
    method = MethodSettings("cats", "assignments/activation", mask)
    changed = replace(
        settings,
        profiles=settings.profiles
        | {"cats": ProfileSettings("activation", "cats", "uniform", "group_histograms/activation")},
        methods=settings.methods | {"cats": method},
    )
    evaluate.main(changed, "cats")
    results = RESULTS.read(paths.results("cats"))
    assert set(results["target"]) == {0.25} and len(results) == len(samples)
    assert "cats is not evaluated at [0.5]: its profile set reaches 0.25" in caplog.text
    assert results["realised_sparsity"].between(0.01, 0.4).all()
    if mask == "topk":
        np.testing.assert_allclose(results["realised_sparsity"], 0.75 * 0.4, rtol=0, atol=1e-12)


def test_a_sample_without_group_is_refused(settings: params.Settings):
    samples = make_inputs(settings)
    path = paths.assignments("activation")
    ASSIGNMENTS.write(ASSIGNMENTS.read(path).iloc[1:], path)
    with pytest.raises(UserError, match=rf"Every sample must have a group.*{samples['sample_id'].min()}.*activation"):
        evaluate.main(settings, "clustered_oracle")


@pytest.mark.parametrize("stage", ["evaluate", "capture"])
def test_a_process_that_only_hands_out_parts_loads_no_transformers(stage: str):
    code = f"import sys; import stages.{stage}; assert not {{'transformers', 'lm_eval'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
