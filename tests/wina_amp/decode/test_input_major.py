"""`wina_amp.decode.input_major`: one copy of the weights, in the gather's layout, and back."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.decode.input_major import input_major
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.profile_set.identity import as_loaded
from wina_amp.profile_set.sparsity import sparsify_

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])
GREEDY = {"max_new_tokens": 5, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
ROUNDING = 1e-5
"""Relative to the largest logit: the same sums in another order."""


@pytest.fixture
def model(tiny_loaded: LoadedModel) -> PreTrainedModel:
    return copy.deepcopy(tiny_loaded.model)


def _bits(model: PreTrainedModel) -> dict[str, tuple[Tensor, tuple[int, ...]]]:
    return {name: (tensor.clone(), tensor.stride()) for name, tensor in model.state_dict().items()}


def _assert_same(model: PreTrainedModel, before: dict[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name][0]) and tensor.stride() == before[name][1]


def test_weights_get_their_bits_and_layout_back_also_after_an_error(model: PreTrainedModel):
    before, every = _bits(model), projections(model)
    own = [projection.module.weight for projection in every]
    with pytest.raises(KeyboardInterrupt), input_major(every):
        for weight, projection in zip(own, every, strict=True):
            assert projection.module.weight is weight and weight.t().is_contiguous() and not weight.is_contiguous()
        raise KeyboardInterrupt
    _assert_same(model, before)


def test_a_replaced_model_answers_as_one_with_copies_and_holds_no_other_weights(model: PreTrainedModel):
    pytest.importorskip("numba")
    made, before = profile_set(as_loaded(model)), _bits(model)
    for prefill in ("sparse", "dense"):
        answers = []
        for weights in ("copy", "replace"):
            with sparsify_(model, made, weights=weights, prefill=prefill, backend="numba"):
                answers.append(model.generate(IDS, **GREEDY))
        copied, replaced = answers
        assert torch.equal(copied.sequences, replaced.sequences)
        wanted = torch.cat(copied.logits)
        assert (torch.cat(replaced.logits) - wanted).abs().max() < ROUNDING * wanted.abs().max()
    _assert_same(model, before)


def test_the_kernels_read_the_models_own_memory(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch):
    numba_gather = pytest.importorskip("wina_amp.decode.numba_gather")
    read: set[int] = set()
    linear = numba_gather.linear

    def spied(x: Tensor, weight: Tensor, *others: Tensor) -> Tensor:
        read.add(weight.data_ptr())
        return linear(x, weight, *others)

    monkeypatch.setattr(numba_gather, "linear", spied)
    with sparsify_(model, profile_set(as_loaded(model)), weights="replace"):
        model.generate(IDS, **GREEDY)
        assert read == {projection.module.weight.data_ptr() for projection in projections(model)}


def test_a_replaced_model_is_saved_as_it_is(model: PreTrainedModel, tmp_path: Path):
    pytest.importorskip("numba")
    before = _bits(model)
    with sparsify_(model, profile_set(as_loaded(model)), weights="replace"):
        model.save_pretrained(tmp_path / "pretrained")
        torch.save(model.state_dict(), tmp_path / "state.pt")
    _assert_same(AutoModelForCausalLM.from_pretrained(tmp_path / "pretrained"), before)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert all(torch.equal(state[name], tensor) for name, (tensor, _) in before.items())


@pytest.mark.tried("errors", "refused")
def test_what_has_no_kernel_for_one_copy_is_refused_and_left_as_it_was(model: PreTrainedModel):
    before, made = _bits(model), profile_set(as_loaded(model))
    with pytest.raises(UserError, match=r'`weights="replace"` needs the backend numba. Found: backend reference'):
        sparsify_(model, made, weights="replace", backend="reference")
    _assert_same(model, before)
    with sparsify_(model, made):
        pass  # nothing of the refused set is left on the model
