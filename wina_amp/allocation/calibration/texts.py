"""Calibration text for allocators that run the model: samples, tokens, and inputs of the dense blocks.

Samples are taken in an order that depends on the seed and their ids alone, so that schemes with the same samples have
the same calibration text. Block inputs are those of the DENSE model, as published, so blocks are independent.

Errors are measured on the last quarter of each sequence's eligible tokens (as in the originals' released code; their
paper does not say): there the context is longest, and for the same cost four times as many samples count.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wina_amp.masks.eligibility import eligible, prefix_lengths
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.batching import batches
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

MEASURED_FRACTION = 0.25

SMALL_BATCH = 512
"""Tokens per batch, at most: attention is run again and again on these, and small batches hold less padding (on the
embedded model a sixth of the search's time against batches of 4,096)."""


@dataclass(frozen=True)
class BlockInput:
    """Input and dense output of one block for one batch of sequences.

    Attributes:
        hidden: residual stream before the block.
        attention: keyword arguments of the block's attention; its normalised input (`hidden_states`, before any
            rotation) is among them.
        eligible: tokens that are masked.
        measured: tokens whose error counts, a subset of `eligible`.
        output: residual stream behind the block, measured tokens only.
    """

    hidden: Float[Tensor, "batch width hidden"]
    attention: dict[str, Any]
    eligible: Bool[Tensor, "batch width"]
    measured: Bool[Tensor, "batch width"]
    output: Float[Tensor, "tokens hidden"]


def choose(
    texts: Sequence[TokenizedSample], *, tokens: int, dense_prefix: int | float, seed: int
) -> list[TokenizedSample]:
    """Texts in seeded order until they have `tokens` measured tokens, or all of them if they have fewer."""
    chosen: list[TokenizedSample] = []
    measured = 0
    for text in seeded_order(texts, seed):
        if measured >= tokens:
            break
        prefix = int(prefix_lengths(torch.tensor([len(text.prompt_ids)]), dense_prefix)[0])
        measured += math.ceil(MEASURED_FRACTION * (text.length - prefix))
        chosen.append(text)
    return chosen


def seeded_order(texts: Sequence[TokenizedSample], seed: int) -> list[TokenizedSample]:
    """Texts in an order that depends on the seed and their ids alone."""
    return sorted(texts, key=lambda text: hashlib.sha256(f"{seed}/{text.sample_id}".encode()).digest())


def minibatch(step: int, texts: int, size: int, seed: int) -> list[int]:
    """The numbers of the texts of one step: every text once in each epoch, in an order that depends on seed and epoch.

    Args:
        step: from 0.
        texts: how many there are.
        size: texts a step; all of them if there are no more. The rest of an epoch, less than `size`, is not used.
        seed: of the orders.
    """
    size = min(size, texts)
    epoch, position = divmod(step, texts // size)
    order = np.random.default_rng([seed, epoch]).permutation(texts)
    return sorted(order[position * size : (position + 1) * size].tolist())


def block_inputs(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    *,
    dense_prefix: int | float,
    budget: int,
) -> list[list[BlockInput]]:
    """Run the dense model over the texts and keep the input of every block: one list per block, one entry per batch.

    Args:
        loaded: the dense model.
        texts: from `choose`.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included; more than `SMALL_BATCH` are never used.

    Guarantee: no hook is left on the model.
    """
    inputs: list[list[BlockInput]] = [[] for _ in loaded.layers]
    planned = batches([text.length for text in texts], [text.sample_id for text in texts], min(budget, SMALL_BATCH))
    for batch in planned:
        ids, masked, measured = _tensors([texts[number] for number in batch], dense_prefix)
        with ExitStack() as hooks, torch.inference_mode():
            seen = [_watch(layer, hooks) for layer in loaded.layers]
            loaded.decoder(input_ids=ids.to(loaded.device), use_cache=False)
        for block, call in enumerate(seen):
            device = call["output"].device  # blocks of a model that is spread are on different ones
            hidden, eligible_here, measured_here = (t.to(device) for t in (call["hidden"], masked, measured))
            output = call["output"][measured_here]
            inputs[block].append(BlockInput(hidden, call["attention"], eligible_here, measured_here, output))
    return inputs


def _watch(layer: nn.Module, hooks: ExitStack) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen["hidden"] = args[0] if args else kwargs["hidden_states"]

    def attention(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen["attention"] = dict(kwargs) if not args else {**kwargs, "hidden_states": args[0]}

    def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        seen["output"] = output[0] if isinstance(output, tuple) else output

    for handle in (
        layer.register_forward_pre_hook(before, with_kwargs=True),
        # Recorded before a rotation of the input, if there is one: whoever runs attention again rotates again.
        layer.get_submodule("self_attn").register_forward_pre_hook(attention, with_kwargs=True, prepend=True),
        layer.register_forward_hook(after),
    ):
        hooks.callback(handle.remove)
    return seen


def _tensors(texts: Sequence[TokenizedSample], dense_prefix: int | float) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded token ids, eligible tokens, measured tokens."""
    prompts = torch.tensor([len(text.prompt_ids) for text in texts])
    ids, totals = right_padded([text.ids for text in texts])
    masked = eligible(prompts, totals, ids.shape[1], dense_prefix)
    from_end = totals[:, None] - torch.arange(ids.shape[1])
    last = torch.ceil(MEASURED_FRACTION * masked.sum(dim=1)).long()
    return ids, masked, masked & (from_end <= last[:, None])
