"""`pipeline.latency.timing` on a tiny model under a clock that ticks when read: rows add up and fit the table."""

from __future__ import annotations

from itertools import count

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.latency import steps
from pipeline.latency.timing import Dense, Profiled, Work, time_method
from pipeline.storage.schemas import TIMINGS
from tests.wina_amp.allocation.blocks import random_model
from wina_amp.models.families import INPUT
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.models.projections import projections
from wina_amp.models.transform import block_bases, rotate_block
from wina_amp.routing.router import Router

TICK = 1e-3
PROMPTS = [np.random.default_rng(number).integers(3, 64, 3 + number) for number in range(6)]
WORK = Work(PROMPTS, contexts=(5, 9), batches=(1, 2), steps=4, answer_tokens=8, cache=0, dense_prefix=1)


@pytest.fixture(autouse=True)
def _only_eager(monkeypatch):
    """Compiling is tested once, with the steps."""
    monkeypatch.setitem(steps.DENSE_WAYS, "cpu", ("eager",))


def _ticks():
    ticks = count()
    return lambda: TICK * next(ticks)


def _profiled(loaded: LoadedModel, threshold: float, router: bool = False) -> Profiled:
    masks = len(projections(loaded.model)) // 2
    values = torch.full((2, 2, masks), threshold)
    hidden = int(loaded.model.config.hidden_size)
    facts = {"router": "embedding"}
    chosen = (Router(torch.zeros(2, hidden), torch.zeros(2)), facts) if router else None
    return Profiled("wina", values, np.arange(6) % 2, chosen)


def _rows(loaded: LoadedModel, method: Profiled, plain: LoadedModel | None = None) -> pd.DataFrame:
    with Dense(plain or loaded, WORK, _ticks()) as dense:
        return pd.DataFrame(time_method(loaded, dense, method, WORK)).assign(method="m", target=0.5)


def test_every_batch_and_context_has_a_row_that_fits_the_table(tmp_path):
    rows = _rows(random_model("llama"), _profiled(random_model("llama"), 0.3))
    TIMINGS.write(rows, tmp_path / "timings.parquet")
    assert list(zip(rows["batch"], rows["context"], strict=True)) == [(1, 5), (1, 9), (2, 5), (2, 9)]
    assert rows["step_ms"].to_numpy() == pytest.approx(1e3 * TICK)
    assert rows["dense_ms"].to_numpy() == pytest.approx(1e3 * TICK)
    assert rows["speedup"].to_numpy() == pytest.approx(1.0) and set(rows["way"]) == {"eager"}
    assert (rows["tokens_per_second"] * rows["ms_per_token"]).to_numpy() == pytest.approx(
        1e3 * rows["batch"].to_numpy()
    )
    assert rows["skipped"].between(0.01, 0.99).all() and (rows["bytes_moved"] < rows["dense_bytes"]).all()


def test_routing_is_timed_once_and_spread_over_an_answer():
    loaded = random_model("llama")
    rows = _rows(loaded, _profiled(loaded, 0.3, router=True))
    assert rows["router_ms"].to_numpy() == pytest.approx(1e3 * TICK)
    assert rows["ms_per_token"].to_numpy() == pytest.approx(1e3 * TICK * (1 + 1 / 8))
    assert rows["speedup"].to_numpy() == pytest.approx(8 / 9)


def test_masking_nothing_skips_nothing_and_reads_what_the_dense_model_reads():
    loaded = random_model("llama")
    rows = _rows(loaded, _profiled(loaded, 0.0))
    assert rows["skipped"].max() < 0.01
    assert rows["bytes_moved"].to_numpy() == pytest.approx(rows["dense_bytes"].to_numpy(), rel=0.01)


def test_a_rotated_model_reads_its_rotations_and_is_compared_with_one_that_has_none():
    plain, rotated = random_model("llama"), random_model("llama")
    for block in range(2):
        rotate_block(rotated, block, block_bases(rotated, block))
    before, after = (_rows(loaded, _profiled(loaded, 0.0), plain) for loaded in (plain, rotated))
    width = int(plain.model.config.hidden_size)
    assert after["dense_bytes"].tolist() == before["dense_bytes"].tolist()
    rotations = 4 * 2 * 2 * width * width
    skipped = (after["skipped"] - before["skipped"]) * sum(
        site.projection.module.weight.nbytes for site in mask_sites(plain.model, INPUT)
    )
    added = after["bytes_moved"] - before["bytes_moved"] + skipped
    assert added.to_numpy() == pytest.approx(rotations)


def test_the_model_is_afterwards_what_it_was():
    loaded = random_model("llama")
    ids = torch.tensor([[3, 4, 5]])
    before, names = loaded.model(ids).logits, [sorted(vars(module)) for module in loaded.model.modules()]
    _rows(loaded, _profiled(loaded, 0.3))
    assert torch.equal(loaded.model(ids).logits, before)
    assert [sorted(vars(module)) for module in loaded.model.modules()] == names


def test_the_unmasked_baseline_stays_on_its_backend_for_as_long_as_it_is_compared_with(monkeypatch):
    """A context manager that nobody refers to ends: the baseline would be eager torch under another name."""
    loaded = random_model("llama")
    calls = []
    monkeypatch.setattr(
        "pipeline.latency.baseline.spread", lambda values: calls.append(values) or _fastest_last(len(calls))
    )
    with Dense(loaded, WORK, _ticks()) as dense:
        baseline = dense.cells[1, 5]
        assert baseline.way == "unmasked"
        assert all("forward" in vars(site.projection.module) for site in mask_sites(baseline.steps._model, INPUT))
    assert not any("forward" in vars(site.projection.module) for site in mask_sites(baseline.steps._model, INPUT))


def _fastest_last(number: int):
    from wina_amp.decode.interleaved import Spread

    return Spread(1.0 / number, 0.0, 1.0)
