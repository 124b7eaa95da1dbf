"""`wina_amp.decode.block_step`: compiled layers give what transformers' own do, and step aside where they must."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import DynamicCache, StaticCache

from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.decode import block_step
from wina_amp.decode.block_step import BlockStep
from wina_amp.decode.block_steps import block_steps
from wina_amp.decode.decoding import sparse_decoding
from wina_amp.decode.masked_projections import MaskedProjection
from wina_amp.decode.numba_gather import Gather
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections, sites
from wina_amp.names import Weights

COMPILED = ("llama", "mistral", "qwen2", "qwen3", "gemma3_text")
ROUNDING = 1e-5
"""Of the largest logit: two blocks of float32 sums in another order."""

LENGTH, STEPS = 6, 5
IDS = torch.randint(3, 64, (3, LENGTH + STEPS), generator=torch.Generator().manual_seed(4))
PADDED = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]])


def _logits(
    loaded: LoadedModel,
    rows: slice = slice(None),
    mask: torch.Tensor | None = None,
    cache: DynamicCache | StaticCache | None = None,
    weights: Weights = "copy",
) -> torch.Tensor:
    """Of the steps behind a dense prompt, `[batch, steps, vocabulary]`; nothing but exact zeros is masked."""
    ids, logits = IDS[rows], []
    nothing = torch.zeros(1, 2, len(projections(loaded.model)) // 2)
    groups, prompt = torch.zeros(len(ids), dtype=torch.int64), torch.zeros(len(ids), LENGTH, dtype=torch.bool)
    cache = DynamicCache(config=loaded.model.config) if cache is None else cache
    sparse = sparse_decoding(loaded, "teal", nothing, backend="numba", weights=weights)
    with torch.inference_mode(), sparse as decoding, decoding.sequences(groups, prompt):
        for end in range(LENGTH, LENGTH + STEPS):
            start = 0 if end == LENGTH else end - 1
            attention = None if mask is None else torch.cat([mask, mask.new_ones(len(ids), end - LENGTH)], dim=1)
            given = {"attention_mask": attention, "past_key_values": cache}
            logits.append(loaded.model(input_ids=ids[:, start:end], **given).logits[:, -1])
    return torch.stack(logits[1:], dim=1)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the layers that ran as compiled code."""
    ran: list[int] = []
    run = BlockStep.__call__

    def spied(self: BlockStep, *given: object) -> torch.Tensor:
        ran.append(self._number)
        return run(self, *given)

    monkeypatch.setattr(BlockStep, "__call__", spied)
    return ran


@pytest.mark.parametrize("kind", COMPILED)
@pytest.mark.parametrize("mask", [None, PADDED], ids=["alone", "padded"])
def test_a_step_gives_the_logits_of_the_layers_own_forward(
    kind: str, mask: torch.Tensor | None, calls: list[int], monkeypatch: pytest.MonkeyPatch
):
    loaded = random_model(kind)
    compiled = _logits(loaded, mask=mask)
    assert calls == [0, 1] * (STEPS - 1)
    monkeypatch.setattr(BlockStep, "takes", lambda *_given: False)
    own = _logits(loaded, mask=mask)
    assert len(calls) == 2 * (STEPS - 1)
    assert (compiled - own).abs().max() < ROUNDING * own.abs().max()


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_a_static_cache_gives_what_a_growing_one_does(kind: str, calls: list[int]):
    loaded = random_model(kind)
    growing = _logits(loaded)
    static = _logits(loaded, cache=StaticCache(config=loaded.model.config, max_cache_len=LENGTH + STEPS))
    assert len(calls) == 4 * (STEPS - 1)
    assert (static - growing).abs().max() < ROUNDING * growing.abs().max()


@pytest.mark.parametrize("kind", ["qwen3", "gemma3_text"])
def test_a_sequence_has_the_same_bits_alone_and_in_a_batch_on_any_number_of_threads(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    loaded = random_model(kind)
    found = block_steps(loaded)[1]
    assert found is not None
    _, step = found
    inputs = [site.projections for site in sites(projections(loaded.model)) if site.block == 1]
    gathers = [
        Gather(
            [
                MaskedProjection(one.module.weight, one.module.bias, torch.full((2, one.in_features), 0.3))
                for one in every
            ]
        )
        for every in inputs
    ]
    draw = torch.Generator().manual_seed(0)
    h, past = torch.randn(3, 1, 32, generator=draw), torch.randn(2, 3, 2, 9, 8, generator=draw)
    angles = torch.randn(3, 1, 8, generator=draw)
    given = {"attention_mask": None, "position_embeddings": (angles.cos(), angles.sin())}

    def run(rows: slice) -> torch.Tensor:
        cache = DynamicCache()
        for layer in range(2):
            cache.update(past[0, rows], past[1, rows], layer)
        own = given | {"position_embeddings": tuple(each[rows] for each in given["position_embeddings"])}
        return step(h[rows], cache, own, torch.zeros(3, dtype=torch.int64)[rows], gathers)

    together = run(slice(None))
    monkeypatch.setattr(Gather, "threads", 2)
    assert torch.equal(run(slice(None)), together)
    for row in range(3):
        assert torch.equal(run(slice(row, row + 1))[0], together[row])


def test_watched_parts_are_called(calls: list[int]):
    loaded = random_model("qwen2")
    seen: list[torch.Size] = []
    for part in ("mlp.act_fn", "self_attn", "input_layernorm"):
        module = loaded.model.model.layers[1].get_submodule(part)
        handle = module.register_forward_pre_hook(lambda *_given: seen.append(torch.Size()))
        _logits(loaded)
        handle.remove()
        assert len(seen) == STEPS and set(calls) == {0}
        seen.clear()


def test_layers_of_other_kinds_keep_their_forward(monkeypatch: pytest.MonkeyPatch):
    found = {kind: [step is not None for step in block_steps(random_model(kind))] for kind in CONFIGS}
    assert {kind for kind, every in found.items() if all(every)} == set(COMPILED)
    assert not any(any(found[kind]) for kind in CONFIGS.keys() - set(COMPILED))
    loaded = random_model("llama")
    own = type(loaded.model.model.layers[1])
    loaded.model.model.layers[1].__class__ = type(own.__name__, (own,), {"__module__": "remote.modeling"})
    assert [step is not None for step in block_steps(loaded)] == [True, False]
    assert block_steps(LoadedModel(loaded.model.bfloat16(), None, loaded.device, loaded.family)) == [None, None]


def test_exp_is_good_to_two_units_and_keeps_nan():
    x = torch.linspace(-87, 88, 20001)
    ours = np.array([block_step._exp(np.float32(value)) for value in x.numpy()])
    wanted = x.double().exp().numpy()
    assert np.abs(ours / wanted - 1).max() < 2 * 2.0**-23
    assert math.isnan(block_step._exp(np.float32("nan")))
    assert 0 < block_step._exp(np.float32("-inf")) < 1e-37
