"""`commands.estimate`: every stage of dvc.yaml has an estimate, and the page says what it rests on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from commands import estimate
from pipeline.config import params
from pipeline.estimate import rates
from pipeline.estimate.rates import Rates
from tests.settings import full as full_settings
from wina_amp.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
STAGES = [
    "manifest", "prepare", "weights", "capture", "cluster", "aggregate@task", "allocate@greedy", "allocate@teal",
    "profile@teal", "route@scores", "dense", "evaluate@teal", "latency", "report",
]  # fmt: skip


def _cost(settings: params.Settings) -> estimate.work.Cost:
    """What stages cost for a model of eight blocks."""
    config = {
        "model_type": "llama", "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8,
        "num_hidden_layers": 8, "vocab_size": 1000,
    }  # fmt: skip
    return estimate._cost(settings, config, estimate._workload(settings, is_known=False))


@pytest.fixture
def settings(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> params.Settings:
    """Settings for the tiny model, on a machine whose rates are known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rates, "measure", lambda *_arguments: Rates(5e-5, 1e-3, 58e9, 18e9, "CPU, threads: 1"))
    full = full_settings()
    return replace(full, model=replace(full.model, path=str(tiny_llama), device="cpu"))


def test_the_page_has_every_kind_of_stage_its_needs_and_its_assumptions(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(estimate, "pending", lambda _root, also: (STAGES, 33))
    estimate.main(settings)
    text = " ".join(capsys.readouterr().out.split())
    assert "At most 14 of 33 stages would run. An ESTIMATE" in text
    assert "allocate 2" in text and "together 14" in text
    assert "7,700 samples of 256 tokens" in text and "`prepare` has not run" in text
    assert "`latency` times nothing: the weights that masks act on, 0.0614 MB" in text
    assert "58 GFLOP/s" in text and "the checkpoint is on this disk" in text


def test_nothing_is_measured_where_nothing_would_run(
    settings: params.Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(estimate, "pending", lambda _root, also: ([], 32))
    monkeypatch.setattr(rates, "measure", None)
    estimate.main(settings)
    assert capsys.readouterr().out == "Nothing to do: all 32 stages are up to date.\n"


def test_more_targets_take_longer_and_groups_by_themselves_as_long_as_one(settings: params.Settings):
    cost = _cost(settings)
    alone = replace(settings.profiles["task"], starts_from="group_histograms/task")
    by_itself = replace(settings, profiles=settings.profiles | {"task": alone})
    pooled, groups = (estimate.seconds(by_itself, cost, name) for name in ("allocate@greedy", "allocate@task"))
    assert groups - estimate.work.START == pytest.approx(pooled - estimate.work.START, rel=0.01)  # 2048 is not 14 x 146
    fewer = replace(settings, evaluate=replace(settings.evaluate, targets=(0.5,)))
    assert estimate.seconds(fewer, cost, "evaluate@teal") < estimate.seconds(settings, cost, "evaluate@teal")


def test_thresholds_take_a_pass_over_the_text_of_every_group_at_every_target_and_none_of_the_dense_model(
    settings: params.Settings,
):
    cost = replace(_cost(settings), processes=1)
    targets, tokens = len(settings.evaluate.targets), settings.thresholds.tokens
    for name, count in (("teal", 1), ("wina_clustered", settings.cluster.count)):
        own = min(tokens, cost.train_tokens / count)
        expected = estimate.work.START + targets * count * cost.calibration(own)
        assert estimate.seconds(settings, cost, f"profile@{name}") == pytest.approx(expected)
    dense = {"teal": replace(settings.profiles["teal"], calibration="dense")}
    dense_settings = replace(settings, profiles=settings.profiles | dense)
    assert estimate.seconds(dense_settings, cost, "profile@teal") == estimate.work.LIGHT_START


def test_weights_take_time_where_a_criterion_asks_for_them(settings: params.Settings):
    cost = _cost(settings)
    learn = settings.learn
    each = cost.gradient(learn.batch) + estimate.work.CAPTURE * cost.dense(learn.batch / 2)
    expected = (learn.warm_steps + learn.steps) * each / min(cost.processes, 2) + cost.dense(cost.train)
    assert estimate.seconds(settings, cost, "weights") == pytest.approx(estimate.work.START + expected)
    without = replace(settings, capture=replace(settings.capture, criteria=("wina",)))
    assert estimate.seconds(without, cost, "weights") == estimate.work.LIGHT_START


def test_primary_methods_pay_for_the_other_test_samples_at_their_targets_and_nobody_else(settings: params.Settings):
    cost = _cost(settings)
    none = replace(settings, evaluate=replace(settings.evaluate, primary=None))
    extra = {
        name: estimate.seconds(settings, cost, f"evaluate@{name}") - estimate.seconds(none, cost, f"evaluate@{name}")
        for name in ("teal", "kl_learned")
    }
    first, whole = (
        cost.evaluation(("test",), {"test": n}, is_masked=True) for n in (settings.evaluate.test_samples, None)
    )
    primary, shared = settings.evaluate.primary, settings.evaluate.test_samples
    assert extra["teal"] == 0
    assert extra["kl_learned"] == pytest.approx(len(primary.targets) * (whole - first) / cost.processes)
    assert estimate.seconds(settings, cost, "dense") > estimate.seconds(none, cost, "dense")
    sparse, targets = len(settings.methods), len(settings.evaluate.targets)
    ordinary = (1 + sparse * targets) * 14 * (settings.evaluate.train_samples + shared)
    assert estimate._evaluated(none, cost.workload) == ordinary
    runs = 1 + len(primary.methods) * len(primary.targets)
    assert estimate._evaluated(settings, cost.workload) == ordinary + runs * 14 * (470 - shared)


@pytest.mark.parametrize("name", ["kl", "kl_gradient", "clustered"])
def test_allocations_take_their_declared_passes_divided_by_processes_and_dense_ones_in_every_process(
    settings: params.Settings, name: str
):
    cost, allocate, targets = _cost(settings), settings.allocate, len(settings.evaluate.targets)
    steps, batch = allocate.kl_steps, int(allocate.kl_tokens / allocate.kl_steps / cost.mean_length)
    compared = int(allocate.kl_tokens / 10 / cost.mean_length)
    if name == "kl":
        shared = targets * (3 * cost.loss(compared) + steps * cost.gradient(batch))
        dense = cost.dense(compared + 1120)
    elif name == "kl_gradient":
        fold = 1120 / 6 / 4
        shared = 6 * targets * (steps // 4 * cost.gradient(batch) + 5 * cost.loss(fold))
        dense = 6 * cost.dense(1120 / 6 + 4 * fold)
    else:
        fold = 1120 / 8 / 4
        path = cost.greedy(1, stop=0.8, step=allocate.greedy_step, tokens=allocate.greedy_tokens // 8, is_lazy=True)
        shared = 8 * (path + 5 * targets * cost.loss(fold))
        dense = 8 * cost.dense(fold)
    for processes in (1, 2):
        seconds = estimate.seconds(settings, replace(cost, processes=processes), f"allocate@{name}")
        assert seconds - estimate.work.START == pytest.approx(shared / processes + dense)


def test_gradient_groups_take_a_step_over_all_train_texts_a_target_and_are_as_many_as_may_be_chosen(
    settings: params.Settings,
):
    cost = _cost(settings)
    one = replace(settings, gradient=replace(settings.gradient, targets=(0.75,)))
    more = estimate.seconds(settings, cost, "gradient_clusters@kl") - estimate.seconds(
        one, cost, "gradient_clusters@kl"
    )
    others = len(settings.gradient.targets) - 1
    assert more == pytest.approx(others * (cost.gradient(1120) + cost.dense(1120)) / cost.processes) and more > 0
    few = replace(settings, gradient=replace(settings.gradient, counts=(2, 3)))
    assert (
        estimate._groups(few, "gradient_random", cost.workload) == 3
        and estimate._groups(settings, "gradient", cost.workload) == 6
    )


def test_a_benefit_router_takes_a_pass_for_every_profile_of_every_target_and_a_dense_one(settings: params.Settings):
    cost = _cost(settings)
    route = replace(settings.route, benefit_routers={"benefit": "clustered"}, benefit_targets=(0.65,))
    one, two = (
        estimate.seconds(
            replace(settings, route=replace(route, benefit_targets=targets)), cost, "benefit_router@benefit"
        )
        - estimate.work.START
        for targets in ((0.65,), (0.65, 0.75))
    )
    profiles = settings.cluster.count + 1
    assert two / one == pytest.approx((1 + 2 * profiles) / (1 + profiles))
    assert one == pytest.approx(
        (1 + profiles) * 2 * cost.loss(1120) / cost.processes, rel=1e-4
    )  # train samples, and as many of test


def test_timings_cost_a_start_where_nothing_is_timed_and_grow_with_methods_where_something_is(
    settings: params.Settings,
):
    cost = _cost(settings)

    def seconds(**changes: object) -> float:
        return estimate.seconds(replace(settings, latency=replace(settings.latency, **changes)), cost, "latency")

    assert seconds(cache_mb=100.0) == estimate.work.START
    one, two = (seconds(cache_mb=0.001, methods=methods) for methods in (("wina",), ("wina", "greedy")))
    compiling = estimate.work.START + 4 * estimate.work.COMPILING
    assert two - compiling == pytest.approx(2 * (one - compiling)) and one > compiling
    timed = replace(settings, latency=replace(settings.latency, cache_mb=0.001))
    assert "holds up to 3 copies of the weights" in estimate._timed_note(timed)


def test_a_hub_checkpoint_whose_config_is_not_here_is_said(settings: params.Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(estimate, "pending", lambda _root, also: (["manifest"], 32))
    hub = replace(settings.model, path="organisation/not-cached", revision="62bd457")
    with pytest.raises(UserError, match=r"must be in the local cache or be downloadable.*organisation/not-cached"):
        estimate.main(replace(settings, model=hub))
