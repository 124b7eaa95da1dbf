"""`pipeline.latency.steps`: every way decodes the same tokens, from the same place, as often as wanted."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor
from transformers import StaticCache

from pipeline.latency import steps as module
from pipeline.latency.steps import SparseSteps, Step, Steps, recorded, sparse_steps
from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.decode import decoding as decoding_module
from wina_amp.decode.decoding import sparse_decoding
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.models.sharing import copy_sharing_weights

CONTEXT, COUNT = 5, 4
IDS = torch.randint(3, 64, (2, CONTEXT + COUNT), generator=torch.Generator().manual_seed(2))
GROUPS = torch.tensor([1, 0])


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def _thresholds(loaded: LoadedModel) -> Tensor:
    columns = len(projections(loaded.model)) // 2
    return torch.rand(2, 2, columns, generator=torch.Generator().manual_seed(3)) * 0.5


def _run(steps: Steps) -> list[list[int]]:
    steps.begin()
    chosen = [steps() for _ in range(COUNT)]
    steps.close()
    return [tokens.tolist() for tokens in chosen if isinstance(tokens, Tensor)]


def _in_one_pass(loaded: LoadedModel) -> list[list[int]]:
    return loaded.model(IDS).logits[:, CONTEXT:].argmax(dim=-1).T.tolist()


@pytest.mark.parametrize("kind", CONFIGS)
def test_steps_choose_what_one_pass_over_all_tokens_chooses_and_can_begin_again(kind: str):
    loaded = random_model(kind)
    steps = Steps(loaded.model, IDS, CONTEXT, "eager")
    steps.get_ready()
    assert _run(steps) == _run(steps) == _in_one_pass(loaded)
    assert steps.cache_bytes > 0


@pytest.mark.parametrize("kind", ["llama", "mistral"])  # the second with a sliding window, which the steps pass
def test_compiled_steps_choose_the_same(monkeypatch, kind: str):
    """Traced once for all steps, with the cache that they write to. Code generation, most of the time, is torch's."""
    compiled, asked, graphs = torch.compile, [], []

    def traced(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    def without_code_generation(step: Step, **options: object) -> Step:
        asked.append(options)
        return compiled(step, backend=traced, **options)

    monkeypatch.setattr(torch, "compile", without_code_generation)
    loaded = random_model(kind)
    steps = Steps(loaded.model, IDS, CONTEXT, "compiled")
    steps.get_ready()
    assert _run(steps) == _in_one_pass(loaded)
    assert asked == [{"dynamic": False, "mode": None}] and len(graphs) == 1


def test_steps_must_be_made_ready(tiny_loaded: LoadedModel):
    with pytest.raises(RuntimeError, match="get_ready"):
        Steps(tiny_loaded.model, IDS, CONTEXT, "eager")()


def test_sparse_steps_alternate_with_dense_ones_and_mask_what_the_reference_masks():
    loaded = random_model("llama")
    dense = Steps(copy_sharing_weights(loaded.model), IDS, CONTEXT, "eager")
    dense.get_ready()
    chosen = {}
    for backend in ("numba", "reference"):
        with sparse_decoding(loaded, "wina", _thresholds(loaded), backend=backend) as decoding:
            steps = sparse_steps(loaded.model, IDS, CONTEXT, decoding, GROUPS)
            steps.begin()
            dense.begin()
            pairs = [(steps().tolist(), dense().tolist()) for _ in range(COUNT)]
            steps.close()
            assert _run(steps) == [sparse for sparse, _ in pairs], "they can begin again"
        chosen[backend] = pairs
    assert chosen["numba"] == chosen["reference"]
    assert [plain for _, plain in chosen["numba"]] == _in_one_pass(loaded)
    assert any(sparse != plain for sparse, plain in chosen["numba"])


def test_a_way_that_does_not_work_is_logged_and_the_next_one_taken(monkeypatch, caplog):
    monkeypatch.setitem(module.SPARSE_WAYS, "cpu", ("graph", "eager"))
    loaded = random_model("llama")
    with sparse_decoding(loaded, "wina", _thresholds(loaded)) as decoding, caplog.at_level(logging.WARNING):
        steps = sparse_steps(loaded.model, IDS, CONTEXT, decoding, GROUPS)
        assert steps.way == "eager" and len(_run(steps)) == COUNT
    assert "a CUDA graph needs a CUDA device" in caplog.text


def test_without_a_way_that_works_the_last_reason_is_raised(monkeypatch):
    monkeypatch.setitem(module.SPARSE_WAYS, "cpu", ("graph",))
    loaded = random_model("llama")
    with sparse_decoding(loaded, "wina", _thresholds(loaded)) as decoding, pytest.raises(RuntimeError, match="CUDA"):
        sparse_steps(loaded.model, IDS, CONTEXT, decoding, GROUPS)


def test_nothing_is_recorded_without_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="needs a CUDA device"):
        recorded(lambda: None)


def test_while_a_graph_is_recorded_the_length_of_the_cache_is_not_read_from_the_device(monkeypatch):
    loaded = random_model("llama")
    asked = []
    with sparse_decoding(loaded, "wina", _thresholds(loaded)) as decoding:
        steps = SparseSteps(loaded.model, IDS, CONTEXT, "eager", decoding, GROUPS)
        steps.get_ready()
        steps.begin()
        monkeypatch.setattr(decoding_module, "_is_recording", lambda: True)
        own = StaticCache.get_seq_length
        monkeypatch.setattr(StaticCache, "get_seq_length", lambda *at: asked.append(at) or own(*at))
        decoding.begin_pass(loaded.model, (IDS[:, :1],), {"past_key_values": steps._cache})
        assert asked == []
        monkeypatch.setattr(decoding_module, "_is_recording", lambda: False)
        decoding.begin_pass(loaded.model, (IDS[:, :1],), {"past_key_values": steps._cache})
        assert asked != []
        steps.close()


def test_a_graph_decodes_the_same_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU: CUDA graphs are not run")
    loaded = random_model("llama")
    model = loaded.model.to("cuda")
    eager, graph = (Steps(model, IDS.cuda(), CONTEXT, way) for way in ("eager", "graph"))
    for steps in (eager, graph):
        steps.get_ready()
        _run(steps)
    caches = [torch.cat([layer.keys.flatten() for layer in steps._cache.layers]) for steps in (eager, graph)]
    assert torch.equal(*caches)
