"""`wina_amp.routing.router`: features are what they say, and a saved router is the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from wina_amp.errors import UserError
from wina_amp.routing.router import Router, embedding_features, load_router, neighbour_features, save_router


def test_embedding_features_are_the_mean_embedding_of_each_prompts_own_tokens() -> None:
    table = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    prompts = [np.array([3], dtype=np.int32), np.array([1, 2, 2, 19], dtype=np.int32), np.array([0, 5], dtype=np.int32)]
    slow = np.stack([table.float().numpy()[prompt].mean(axis=0) for prompt in prompts])
    rounding = 1e-6  # float32 means of up to four numbers of order 1
    assert np.allclose(embedding_features(table, prompts), slow, atol=rounding)


def test_neighbour_features_are_the_mean_and_the_mean_product_of_neighbours() -> None:
    table = torch.randn(20, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    prompts = [np.array([3], dtype=np.int32), np.array([1, 2, 2, 19], dtype=np.int32), np.array([0, 5], dtype=np.int32)]
    slow = np.zeros((3, 12))
    for row, prompt in enumerate(prompts):
        tokens = table.float().numpy()[prompt]
        slow[row, :6] = tokens.mean(axis=0)
        pairs = [first * second for first, second in pairwise(tokens)]
        slow[row, 6:] = np.mean(pairs, axis=0) if pairs else 0
    assert np.allclose(neighbour_features(table, prompts), slow, atol=1e-6)


def test_neighbours_tell_orders_apart_that_have_the_same_mean() -> None:
    table = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    first, second = np.array([1, 2, 3, 4]), np.array([1, 3, 2, 4])
    assert np.allclose(*embedding_features(table, [first, second]), atol=1e-6)
    assert not np.allclose(*neighbour_features(table, [first, second]), atol=1e-2)


def test_a_saved_router_comes_back_with_its_facts_and_the_same_bytes(tmp_path) -> None:
    router = Router(torch.arange(6.0).reshape(2, 3), torch.tensor([0.5, -1.0]))
    written = {"router": "scores", "blocks": "1", "dim": "32", "seed": "0"}
    for name in ("a", "b"):
        save_router(router, tmp_path / name, written)
    again, facts = load_router(tmp_path / "a")
    assert facts == written
    features = np.random.default_rng(0).normal(size=(5, 3))
    assert np.array_equal(again.probabilities(features), router.probabilities(features))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_probabilities_are_the_softmax_of_the_linear_layer() -> None:
    router = Router(torch.tensor([[1.0], [0.0]]), torch.tensor([0.0, np.log(3.0)]).float())
    assert router.probabilities(np.zeros((1, 1))) == pytest.approx(np.array([[0.25, 0.75]]), abs=1e-6)


def test_a_missing_or_damaged_router_is_the_users_error(tmp_path) -> None:
    with pytest.raises(UserError, match=r"must be a safetensors file.*nowhere"):
        load_router(tmp_path / "nowhere")
    (tmp_path / "bad").write_bytes(b"not safetensors at all")
    with pytest.raises(UserError, match="must be a safetensors file"):
        load_router(tmp_path / "bad")
