"""Routers: from a prompt to the group whose profile it should run with.

    embedding    mean over the prompt's tokens of the model's own input embeddings: no block has to run
    neighbours   that, and the mean over neighbouring tokens of the product of their embeddings, feature by feature: a
                 mean of tokens knows no order, which is all that tells sorting from reversing
    scores       the signatures of the first blocks (`pipeline/signature.py`), which clustering reads too
    gate         what `neighbours` reads; it belongs to one profile set, whose last group is the pooled profile

In every case the router proper is one linear layer, with the standardisation of its inputs folded into the weights,
saved as safetensors. All but the gate name the learned group of a prompt and are fitted in `pipeline/router_fit.py`; a
gate predicts what every group's profile would bring (`pipeline/gate_fit.py`). Running one needs no scikit-learn.

What a router costs is counted like everything else (`pipeline/compute.py`). `scores` pays for a dense pass of the first
blocks over the prompt, because the profile is not known before they have run: all of their projections but the last
`down`, whose input is the last thing observed. That pass is charged in full; nothing of it is reused.
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

from pipeline.atomic import replacing
from pipeline.compute import Shape, Work, attended, flops
from pipeline.errors import UserError
from pipeline.models.projections import Projection, sites

ROUTERS = ("embedding", "neighbours", "scores")
GATE = "gate"


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
        """The softmax of the outputs, on the CPU; rows sum to 1. A router that was fitted to labels gives each group's
        probability; of a gate's outputs, which are benefits, only the order means something."""
        with torch.inference_mode():
            logits = self(torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)))
            return logits.softmax(dim=-1).numpy()


def save_router(router: Router, path: str | os.PathLike[str], facts: Mapping[str, str]) -> None:
    """Write weights and `facts` (what its features are) as safetensors, atomically, with the same bytes every time.

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
            remedy="run `dvc repro` or `dvc checkout`, which restore it",
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
    """`embedding_features`, and behind them the mean over pairs of neighbouring tokens of the product of their
    embeddings, 0 for a prompt of one token. The product does not tell which of two tokens came first; over a whole
    prompt, which tokens stand side by side says most of what their order does.
    """
    found = np.zeros((len(prompts), embeddings.shape[1]), np.float32)
    with torch.inference_mode():
        for number, prompt in enumerate(prompts):
            if len(prompt) > 1:
                ids = torch.from_numpy(np.asarray(prompt).astype(np.int64)).to(embeddings.device)
                tokens = embeddings[ids].float()
                found[number] = (tokens[1:] * tokens[:-1]).mean(dim=0).cpu().numpy()
    return np.concatenate([embedding_features(embeddings, prompts), found], axis=1)


def embedding_flops(tokens: Int[ndarray, " samples"], hidden: int, groups: int) -> Float[ndarray, " samples"]:
    """Operations of the `embedding` router: `tokens * hidden` for the mean, then the linear layer."""
    return tokens * float(hidden) + _linear(hidden, groups)


def neighbour_flops(tokens: Int[ndarray, " samples"], hidden: int, groups: int) -> Float[ndarray, " samples"]:
    """Operations of the `neighbours` router, and of a gate: the mean, a product and a sum for every pair, the linear
    layer."""
    return tokens * float(hidden) + (tokens - 1) * 2.0 * hidden + _linear(2 * hidden, groups)


def scores_flops(
    tokens: Int[ndarray, " samples"],
    eligible: Int[ndarray, " samples"],
    projections: Sequence[Projection],
    *,
    head_dim: int,
    heads: int,
    dim: int,
    groups: int,
    rotations: tuple[int, ...] = (),
) -> Float[ndarray, " samples"]:
    """Operations of the `scores` router: the dense pass, the signatures, the linear layer.

    A signature costs `eligible * features` to add magnitudes up, `3 * features` to weigh and normalise the sum, and
    `2 * features * dim` to project it.

    Args:
        tokens: tokens of every prompt.
        eligible: those of them that a signature looks at.
        projections: all projections of the first blocks.
        head_dim, heads: length and number of attention's query heads.
        dim: numbers per signature.
        groups: outputs of the linear layer.
        rotations: width of every rotated input of the first blocks.
    """
    last = projections[-1].block
    run = [one for one in projections if (one.block, one.name) != (last, "down")]
    shape = Shape(
        weights=sum(one.gated_weights for one in run),
        features=(),
        gated=(),
        blocks=last + 1,
        heads=heads,
        head_dim=head_dim,
        hidden=0,
        vocabulary=0,
        rotations=rotations,
    )
    nothing = np.zeros(len(tokens), dtype=np.int64)
    met = np.array([attended(0, int(number)) for number in tokens])
    dense = flops(shape, Work(tokens, met, nothing, nothing, np.zeros((len(tokens), 0), dtype=np.int64)))
    observed = [site.features for site in sites(projections)]
    signatures = eligible * float(sum(observed)) + (3.0 + 2.0 * dim) * sum(observed)
    return dense + signatures + _linear(len(observed) * dim, groups)


def _linear(features: int, groups: int) -> float:
    return 2.0 * features * groups
