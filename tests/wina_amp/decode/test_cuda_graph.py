"""`wina_amp.decode.cuda_graph`: replayed steps give the tokens of eager ones. Without a GPU a replay is Python."""

from __future__ import annotations

import pytest
import torch

from tests.wina_amp.allocation.blocks import random_model
from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.decode import cuda_graph
from wina_amp.decode.cuda_graph import EAGER_STEPS, GraphedForward
from wina_amp.errors import UserError
from wina_amp.profile_set import generating
from wina_amp.profile_set import sparsity as module
from wina_amp.profile_set.sparsity import sparsify_

STEPS = 8
GREEDY = {"min_new_tokens": STEPS, "max_new_tokens": STEPS, "do_sample": False, "cache_implementation": "static"}
IDS = torch.randint(3, 64, (3, 6), generator=torch.Generator().manual_seed(4))
PADDED = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[GraphedForward]:
    """Replays that run Python, which must then not count the step a second time; and every forward that was made."""
    forwards: list[GraphedForward] = []

    def made(forward, decoding):
        def record(work):
            decoding.count_step()

            def replay():
                decoding._running.sequences.seen -= 1
                work()

            return replay

        forwards.append(GraphedForward(forward, decoding, record))
        return forwards[-1]

    monkeypatch.setattr(generating, "GraphedForward", made)
    monkeypatch.setattr(module, "check_device", lambda _device: None)
    return forwards


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("kind", ["llama", "phi3", "qwen2"])
@pytest.mark.parametrize("batch", [1, 3])
def test_replayed_steps_give_the_tokens_of_eager_ones(kind: str, backend: str, batch: int, made: list[GraphedForward]):
    loaded = random_model(kind)
    given = {"input_ids": IDS[-batch:], "attention_mask": PADDED[-batch:]}
    own = profile_set(loaded)
    with sparsify_(loaded, own, sparsity=0.5, backend=backend) as sparse:
        wanted = sparse.model.generate(**given, **GREEDY)
    with sparsify_(loaded, own, sparsity=0.5, backend=backend, cuda_graph=True) as sparse:
        assert torch.equal(sparse.model.generate(**given, **GREEDY), wanted)
        assert torch.equal(sparse.model.generate(**given, **GREEDY), wanted), "every generation records its own"
        assert torch.equal(
            sparse.model.generate(**given, **(GREEDY | {"max_new_tokens": 3, "min_new_tokens": 3})), wanted[:, :9]
        )
    assert [forward.replayed for forward in made] == [STEPS - 1 - EAGER_STEPS] * 2 + [0]
    assert "forward" not in vars(loaded.model)


def test_what_cannot_be_recorded_is_refused(made: list[GraphedForward]):
    loaded = random_model("llama")
    with sparsify_(loaded, profile_set(loaded), sparsity=0.5, cuda_graph=True) as sparse:
        with pytest.raises(UserError, match=r"without beams only.* Found: 2 beams"):
            sparse.model.generate(IDS[:1], **GREEDY, num_beams=2)
        with pytest.raises(UserError, match=r"static cache of full attention only\. Found: DynamicLayer"):
            sparse.model.generate(IDS[:1], **(GREEDY | {"cache_implementation": None}))
    windows = random_model("mistral")
    refusal = pytest.raises(UserError, match="Found: StaticSlidingWindowLayer")
    with sparsify_(windows, profile_set(windows), sparsity=0.5, cuda_graph=True) as sparse, refusal:
        sparse.model.generate(IDS[:1], **GREEDY)


def test_a_recording_holds_for_the_same_arguments_only():
    own = {"a": torch.zeros(2), "mask": {"full": torch.ones(1, 3)}, "use_cache": True, "none": None}
    other = {"a": torch.ones(2), "mask": {"full": torch.zeros(1, 3)}, "use_cache": True, "none": None}
    buffers = cuda_graph._copy(own)
    assert cuda_graph._is_like(buffers, other) and buffers["a"] is not own["a"]
    cuda_graph._fill(buffers, other)
    assert buffers["a"].tolist() == [1.0, 1.0] and not buffers["mask"]["full"].any() and own["mask"]["full"].all()
    for change in ({"a": torch.ones(3)}, {"a": torch.ones(2).long()}, {"mask": torch.ones(2)}, {"use_cache": False}):
        assert not cuda_graph._is_like(buffers, other | change)
    assert not cuda_graph._is_like(buffers, other | {"none": torch.ones(2)})
    assert not cuda_graph._is_like(buffers, other | {"more": 1})


def test_a_graph_gives_the_tokens_of_eager_steps_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no GPU: CUDA graphs are not run")
    loaded = random_model("llama")
    loaded.model.to("cuda")
    given = {"input_ids": IDS.cuda(), "attention_mask": PADDED.cuda()}
    made, tokens = profile_set(loaded), []
    for is_graph in (False, True):
        with sparsify_(loaded.model, made, sparsity=0.5, cuda_graph=is_graph) as sparse:
            tokens.append(sparse.model.generate(**given, **GREEDY))
    assert torch.equal(*tokens)
