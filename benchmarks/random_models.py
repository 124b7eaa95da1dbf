"""Models of random weights, samples of random tokens, and thresholds from scores: what measurements of time need."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerBase

from wina_amp.masks.install import replaced_activations
from wina_amp.models.families import INPUT, family_of
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.scoring.criteria import projection_weights, scores
from wina_amp.tokens.batching import batches
from wina_amp.tokens.samples import TokenizedSample


def random_model(config: PreTrainedConfig, dtype: str = "float32", device: str = "cpu") -> LoadedModel:
    """A model with random weights, made where it runs; without a tokenizer."""
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), attn_implementation="sdpa")
    cast(nn.Module, model).eval().requires_grad_(False)
    return LoadedModel(model, PreTrainedTokenizerBase(), torch.device(device), family_of(config.model_type))


def random_samples(number: int, vocabulary: int, lengths: tuple[int, int], answer: int) -> list[TokenizedSample]:
    """Samples of random tokens, of lengths in this range, the last `answer` of which are the answer."""
    draw = np.random.default_rng(0)
    return [
        TokenizedSample(f"random/train/{row:05d}", draw.integers(3, vocabulary, length - answer).tolist(), [1] * answer)
        for row, length in enumerate(draw.integers(*lengths, number, endpoint=True))
    ]


def in_batches(samples: Sequence[TokenizedSample], budget: int) -> list[list[TokenizedSample]]:
    """Samples that go through the model together, of at most `budget` tokens, padding included."""
    planned = batches([sample.length for sample in samples], [sample.sample_id for sample in samples], budget)
    return [[samples[number] for number in batch] for batch in planned]


def thresholds(
    loaded: LoadedModel,
    criterion: str,
    sparsities: Sequence[float],
    ids: Int[Tensor, "batch width"],
    counted: Bool[Tensor, "batch width"] | None = None,
) -> Float[Tensor, "sparsities blocks projections"]:
    """The quantiles of every projection's scores over these tokens, or those of them that count, on the CPU; 0 at
    sparsity 0."""
    masks = mask_sites(loaded.model, INPUT)
    limits: list[Tensor] = [torch.empty(0) for _ in masks]

    def see(number: int, weights: Tensor, x: Tensor) -> None:
        ordered = scores(x if counted is None else x[counted.to(x.device)], weights).flatten().sort().values
        ranks = [int(sparsity * len(ordered)) - 1 for sparsity in sparsities]
        limits[number] = torch.stack([ordered[rank] if rank >= 0 else ordered.new_zeros(()) for rank in ranks]).cpu()

    watched = (
        (site.tap, partial(see, number, projection_weights(criterion, site.projection)))
        for number, site in enumerate(masks)
    )
    with torch.inference_mode(), replaced_activations(watched):
        loaded.decoder(input_ids=ids.to(loaded.device), use_cache=False)
    return torch.stack(limits, dim=1).reshape(len(sparsities), len(loaded.layers), -1)
