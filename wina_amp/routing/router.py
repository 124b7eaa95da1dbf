"""Routers, linear layers from features of a prompt to groups; their files, and the features of the cheap ones.

    embedding    mean of the model's input embeddings over the prompt's tokens: no block has to run
    neighbours   that, and the mean of the elementwise products of neighbouring tokens' embeddings: a mean of tokens
                 ignores their order, and only order distinguishes sorting from reversing
    scores       signatures of the first blocks (`wina_amp/scoring/signature.py`), which clustering reads too
    benefit      the features of `neighbours`; it belongs to one profile set, whose last group is the pooled profile

The standardisation of the features is folded into the weights, which are saved as safetensors. A benefit router
predicts the benefit of every group's profile; all others predict the group of a prompt. `pipeline.routing` fits them
(with scikit-learn, which is not needed here).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from wina_amp.atomic import replacing
from wina_amp.errors import RESTORE, UserError


class Router(nn.Module):
    """One linear layer from a prompt's features to the groups' logits."""

    def __init__(self, weight: Float[Tensor, "groups features"], bias: Float[Tensor, " groups"]) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, features: Float[Tensor, "samples features"]) -> Float[Tensor, "samples groups"]:
        """Logits, in float32."""
        return functional.linear(features.float(), self.weight, self.bias)

    def probabilities(self, features: Float[ndarray, "samples features"]) -> Float32[ndarray, "samples groups"]:
        """The softmax of the outputs, on the CPU; rows sum to 1. For a classifier these are the groups' probabilities;
        the outputs of a benefit router are benefits, and of their softmax only the order is meaningful."""
        with torch.inference_mode():
            logits = self(torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)))
            return logits.softmax(dim=-1).numpy()


def save_router(router: Router, path: str | os.PathLike[str], facts: Mapping[str, str]) -> None:
    """Write weights and `facts` (the kind of router and its features) as safetensors, atomically, with the same bytes
    every time.

    The facts are one JSON string: safetensors writes several metadata keys in a random order.
    """
    tensors = {name: tensor.contiguous() for name, tensor in router.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={"facts": json.dumps(dict(facts), sort_keys=True)}))


def load_router(path: str | os.PathLike[str]) -> tuple[Router, dict[str, str]]:
    """The router at `path` and its facts.

    Raises:
        UserError: no such file, or not a router.
    """
    try:
        with safe_open(Path(path), framework="pt") as file:
            facts: dict[str, str] = json.loads(file.metadata()["facts"])
            return Router(file.get_tensor("weight"), file.get_tensor("bias")), facts
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            "A router must be a safetensors file with `weight` and `bias`",
            found=str(error).splitlines()[0],
            where=str(path),
            remedy=f"copy the file again from where it was made; in the study, {RESTORE}",
        ) from error


def embedding_features(
    embeddings: Float[Tensor, "vocabulary hidden"], prompts: Sequence[Int[ndarray, " tokens"]]
) -> Float32[ndarray, "samples hidden"]:
    """The mean embedding of every prompt's tokens, special tokens included; no prompt may be empty."""
    lengths = [len(prompt) for prompt in prompts]
    ids = torch.from_numpy(np.concatenate(prompts).astype(np.int64)).to(embeddings.device)
    starts = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)).to(embeddings.device)
    with torch.inference_mode():
        return functional.embedding_bag(ids, embeddings.float(), starts, mode="mean").cpu().numpy()


def neighbour_features(
    embeddings: Float[Tensor, "vocabulary hidden"], prompts: Sequence[Int[ndarray, " tokens"]]
) -> Float32[ndarray, "samples twice_hidden"]:
    """`embedding_features` followed by the mean elementwise product of the embeddings of neighbouring tokens.

    The products are 0 for a prompt of one token. A product does not say which of two tokens came first, but which
    tokens are neighbours is most of the information in their order.
    """
    products = np.zeros((len(prompts), embeddings.shape[1]), np.float32)
    with torch.inference_mode():
        for number, prompt in enumerate(prompts):
            if len(prompt) > 1:
                ids = torch.from_numpy(np.asarray(prompt).astype(np.int64)).to(embeddings.device)
                tokens = embeddings[ids].float()
                products[number] = (tokens[1:] * tokens[:-1]).mean(dim=0).cpu().numpy()
    return np.concatenate([embedding_features(embeddings, prompts), products], axis=1)
