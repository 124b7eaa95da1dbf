"""The stage latency on a tiny model: with its true cache a reason and nothing else, with a small one a table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.config.methods import MethodSettings
from pipeline.latency import machine, steps, timing
from pipeline.storage.schemas import TIMINGS
from stages import latency, transform
from stages.inputs import paths
from stages.latency_inputs import what_is_timed
from tests.settings import full as full_settings
from tests.stages.test_group_stages import run_all
from tests.stages.test_group_stages import settings as settings  # a fixture
from wina_amp.decode import backends
from wina_amp.errors import UserError
from wina_amp.models import placement

PROFILE_SETS = ("wina", "greedy", "clustered")
TARGETS = (0.25, 0.65)
NAMES = ("wina", "clustered_oracle", "clustered_routed", "clustered_scores")
SMALL_CACHE = 0.01
"""MB; the tiny model has 0.06 MB under masks."""


@pytest.fixture(scope="module")
def finished(settings, tmp_path_factory):
    """A folder in which everything in front of the stage has run."""
    folder = tmp_path_factory.mktemp("latency")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all(settings, PROFILE_SETS)
    return folder


@pytest.fixture
def few(settings, finished, monkeypatch):
    """Settings of a run that times four methods, dense eager."""
    monkeypatch.chdir(finished)
    monkeypatch.setitem(steps.DENSE_WAYS, "cpu", ("eager",))
    small = replace(settings.latency, methods=NAMES, contexts=(8,), batches=(1, 2), steps=4, cache_mb=SMALL_CACHE)
    return replace(settings, latency=small, evaluate=replace(settings.evaluate, targets=TARGETS))


def _facts() -> dict[str, object]:
    return json.loads(Path(paths.LATENCY, latency.FACTS).read_text())


def _rows():
    return TIMINGS.read(Path(paths.LATENCY, latency.TABLE))


def _written() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(paths.LATENCY).iterdir()}


def test_weights_that_fit_the_cache_give_a_reason_no_row_and_equal_bytes_without_loading_the_model(few, monkeypatch):
    monkeypatch.setattr(latency, "load_model", None)
    fits = replace(few, latency=replace(few.latency, cache_mb=30.0))
    latency.main(fits)
    first = _written()
    assert _rows().empty and set(_facts()) == {"reason", "skipped"}
    assert "less than 2 times the last-level cache, 30 MB" in str(_facts()["reason"])
    latency.main(fits)
    assert _written() == first


def test_the_default_run_asks_the_machine_and_times_nothing(monkeypatch):
    full = full_settings()
    assert full.latency.cache_mb is None and full.latency.methods is None
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(machine, "last_level_cache", lambda _device: 8 << 20)
    timed = what_is_timed(full)
    assert timed.weights < 8e6 and set(timed.methods) == {*full.methods} - {"dense", "greedy_prompt"}
    assert "times the last-level cache, 8.39 MB" in str(timed.reason)


def test_every_method_is_timed_at_every_target_batch_and_context(few):
    latency.main(few)
    rows, facts = _rows(), _facts()
    keys = {(row.method, row.target, row.batch, row.context) for row in rows.itertuples()}
    assert keys == {(name, target, batch, 8) for name in NAMES for target in TARGETS for batch in (1, 2)}
    routed = rows["method"].isin(["clustered_routed", "clustered_scores"])
    assert (rows.loc[routed, "router_ms"] > 0).all() and (rows.loc[~routed, "router_ms"] == 0).all()
    assert (rows["step_ms_low"] <= rows["step_ms"]).all() and (rows["step_ms"] <= rows["step_ms_high"]).all()
    by_target = rows.groupby("target")["skipped"].mean()
    assert by_target[0.25] < by_target[0.65]
    assert facts["reason"] is None and facts["machine"]["torch"] and facts["cache_mb"] == SMALL_CACHE
    assert [row["chosen"] in row["ms"] for row in facts["dense"]] == [True, True]
    assert not list(Path(".scratch/latency").glob("*/*.parquet")), "a forced run must time again"


def test_a_crash_costs_one_part(few, monkeypatch):
    done, own = [], timing.time_method

    def crashing(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(arguments)
        return own(*arguments)

    monkeypatch.setattr(timing, "time_method", crashing)
    with pytest.raises(KeyboardInterrupt):
        latency.main(few)
    again = []
    monkeypatch.setattr(timing, "time_method", lambda *arguments: again.append(arguments) or own(*arguments))
    latency.main(few)
    assert len(again) == len(NAMES) * len(TARGETS) - 3 and len(_rows()) == len(NAMES) * len(TARGETS) * 2


def test_a_rotated_model_is_compared_with_the_checkpoint_as_it_is(few):
    rotated = replace(
        few,
        model=replace(few.model, transform="orthogonal"),
        latency=replace(few.latency, methods=("wina",), batches=(1,)),
        evaluate=replace(few.evaluate, targets=(0.25,)),
    )
    rows = {}
    for chosen in (rotated, replace(rotated, model=few.model)):
        transform.main(chosen)
        latency.main(chosen)
        [rows[chosen.model.transform]] = list(_rows().itertuples())
    assert rows["orthogonal"].dense_bytes == rows["none"].dense_bytes
    weights = what_is_timed(few).weights
    kept = {name: row.bytes_moved + row.skipped * weights for name, row in rows.items()}
    assert kept["orthogonal"] - kept["none"] == pytest.approx(4 * 2 * 2 * 32 * 32)  # two bases in each of two blocks


def test_methods_that_cannot_decode_are_skipped_with_their_reason(few):
    methods = {
        "topk": MethodSettings("wina", "assignments/global", "topk"),
        "cats": MethodSettings("cats", "assignments/activation", "threshold"),
    }
    latency.main(replace(few, methods=methods, latency=replace(few.latency, methods=None)))
    assert "no method can decode" in str(_facts()["reason"]) and set(_facts()["skipped"]) == {"topk", "cats"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtype": "float16"}, "no backend that skips weights runs float16 on the CPU"),
        ({"device": "spread"}, "spread over several GPUs"),
    ],
)
def test_a_model_that_no_backend_takes_gives_the_reason(few, monkeypatch, changes, words):
    monkeypatch.setattr(placement, "choose_device", lambda _name: torch.device("cpu"))
    latency.main(replace(few, model=replace(few.model, **changes)))
    assert _rows().empty and words in str(_facts()["reason"])


def test_a_context_that_the_model_cannot_hold_is_refused(few):
    long = replace(few, latency=replace(few.latency, contexts=(8, 125)))
    with pytest.raises(
        UserError, match=r"must fit the model's 128 tokens\. Found: 125 \+ 6\. Where: `latency\.contexts`"
    ):
        latency.main(long)


def test_a_gpu_is_asked_for_its_own_backend_and_cache(few, monkeypatch):
    """What a GPU is timed, without one: its L2, and Triton for a dtype that no CPU backend takes."""
    monkeypatch.setattr(placement, "choose_device", lambda _name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: type("P", (), {"L2_cache_size": 1000}))
    monkeypatch.setattr(backends, "find_spec", lambda _name: object())
    half = replace(
        few, model=replace(few.model, dtype="bfloat16", device="auto"), latency=replace(few.latency, cache_mb=None)
    )
    timed = what_is_timed(half)
    assert (timed.reason, timed.cache, timed.device.type) == (None, 1000, "cuda")
