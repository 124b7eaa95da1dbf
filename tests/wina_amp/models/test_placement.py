"""`wina_amp.models.placement`, and that a model spread over several devices is watched, masked and scored on each.

There is one device here, the CPU. Several are imitated by PyTorch's fake tensors, which have a device and a shape but
no values, and refuse operations across devices. What only real GPUs can show (accelerate moving hidden states along) is
not tested.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from accelerate import dispatch_model
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from pipeline.evaluate.engine import Engine
from wina_amp.capture import observe
from wina_amp.capture.accumulate import Totals
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.masks import install
from wina_amp.models import placement
from wina_amp.models.load import LoadedModel, load
from wina_amp.models.mask_sites import Tap
from wina_amp.models.placement import choose_device, refuse_offloading
from wina_amp.models.projections import Projection, sites

FIRST, SECOND = torch.device("cuda:0"), torch.device("cuda:1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "spread"])
def test_a_gpu_that_is_not_there_is_refused(device: str):
    with pytest.raises(UserError, match=rf"`model\.device: {device}` needs a GPU.*set `model\.device: auto`"):
        choose_device(device)


def test_spread_without_accelerate_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("spread").type == "cuda"
    monkeypatch.setattr(placement.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"needs the package accelerate.*pip install accelerate"):
        choose_device("spread")
    assert choose_device("cuda").type == "cuda"


@pytest.mark.parametrize("where", ["cpu", "disk", torch.device("cpu")])
def test_blocks_that_fit_no_gpu_are_refused_and_counted(where: Any):
    refuse_offloading({"model.embed_tokens": 0, "model.layers.0": 1})
    with pytest.raises(UserError, match=r"memory of all GPUs together.*1 of 2 parts.*model\.layers\.1.*dtype"):
        refuse_offloading({"model.layers.0": 0, "model.layers.1": where})


def test_a_model_in_the_hands_of_accelerate_is_watched_and_masked_as_before(tiny_llama: Path, tiny_loaded: LoadedModel):
    """accelerate wraps the forward method of every part it places; our hooks must see what they see without it."""
    placed = load(tiny_llama, revision=None, dtype="float32", device="cpu")
    parts = ("model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb", "lm_head")
    dispatch_model(placed.model, dict.fromkeys(parts, "cpu"), force_hooks=True)
    assert all(hasattr(placed.model.get_submodule(part), "_hf_hook") for part in parts)
    ours, theirs = _watched_and_masked(tiny_loaded), _watched_and_masked(placed)
    assert all(torch.equal(first, second) for first, second in zip(ours, theirs, strict=True))


def _watched_and_masked(loaded: LoadedModel) -> list[Tensor]:
    ids, rows = torch.tensor([[1, 5, 6, 9], [1, 7, 8, 4]]), torch.tensor([[0] * 4, [1] * 4])
    with torch.inference_mode():
        with observe.Observer(loaded, ["wina"], Bins(4)) as observer:
            with observer.batch(rows, rows):
                loaded.decoder(input_ids=ids)
            counts = [torch.from_numpy(observation.counts) for observation in observer.take()]
        with install.install(loaded, "wina", torch.full((1, 2, 7), 0.5)) as runtime:
            engine = Engine(loaded, runtime, 0)
            hidden, kept = engine.forward(ids, [0, 0], torch.ones(2, 4).bool())
            predictions = engine.predict(hidden[0], [0, 1, 2], [5, 6, 9])
    assert kept is not None
    return [*counts, hidden, kept.kept, torch.from_numpy(predictions.logprobs)]


def test_masks_find_their_rows_and_counters_on_the_device_of_every_projection():
    with FakeTensorMode():
        groups, eligible = torch.zeros(3, dtype=torch.int64, device=FIRST), torch.ones(3, 5, device=FIRST).bool()
        rows = install._Rows(groups, eligible, torch.zeros(2, 3, dtype=torch.int64, device=FIRST), None)
        assert rows.on(FIRST) is rows
        there = rows.on(SECOND)
        assert {tensor.device for tensor in (there.groups, there.eligible, there.kept)} == {SECOND}
        rows.gather()
        assert rows.kept.device == FIRST


def test_the_counters_of_all_devices_are_added_up():
    rows = install._Rows(torch.zeros(2).long(), torch.ones(2, 3).bool(), torch.tensor([[1, 2]]), None)
    assert rows.on(torch.device("cpu")) is rows
    rows.copies[SECOND] = install._Rows(rows.groups, rows.eligible, torch.tensor([[10, 20]]), None)
    assert rows.on(SECOND) is rows.copies[SECOND]
    rows.gather()
    assert rows.kept.tolist() == [[11, 22]]


def test_scores_are_counted_on_the_device_of_every_site(monkeypatch: pytest.MonkeyPatch):
    met: list[torch.device] = []

    def one_device(x: Tensor, segment: Tensor, sum_segment: Tensor, totals: Totals) -> None:
        tensors = (x, segment, sum_segment, totals.weights, totals.counts, totals.broken, totals.sums)
        assert len({tensor.device for tensor in tensors}) == 1
        met.append(x.device)

    monkeypatch.setattr(observe, "accumulate", one_device)
    monkeypatch.setattr(observe, "_row_of", lambda weights, distinct: distinct.append(weights) or len(distinct) - 1)
    rows = cast(Tensor, _Rows())
    with FakeTensorMode():
        watched = [
            observe._Watched(site, Tap(site.projections[0].module), ["teal", "wina"], has_magnitudes=True)
            for site in sites(_projections())
        ]
        batch = observe._Batch(watched, Bins(4), rows, rows)
        for number, site in enumerate(watched):
            batch.add(number, torch.zeros(3, 5, 4, device=site.device))
    assert met == [FIRST, SECOND]


class _Rows:
    """As much of a tensor of rows as a batch looks at; fake tensors have no values."""

    def reshape(self, _size: int) -> _Rows:
        return self

    def long(self) -> _Rows:
        return self

    def max(self) -> int:
        return 2

    def to(self, device: torch.device) -> Tensor:
        return torch.zeros(15, dtype=torch.int64, device=device)


def _projections() -> list[Projection]:
    """The same projection in two blocks, on two devices; to be called in a `FakeTensorMode`."""
    modules = [SimpleNamespace(weight=torch.ones(6, 4, device=device)) for device in (FIRST, SECOND)]
    return [
        Projection(block=block, name="q", site="qkv", module=cast(nn.Linear, module), in_features=4, out_features=6)
        for block, module in enumerate(modules)
    ]
