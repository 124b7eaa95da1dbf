"""Routing at run time: from new prompts to their groups.

`KINDS` has one row for every kind of router in `wina_amp/routing/router.py`: the features that it reads of a prompt.
The largest output of the linear layer decides; of equal ones the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from torch import Tensor, nn

from wina_amp.errors import unknown
from wina_amp.models.load import LoadedModel
from wina_amp.names import BENEFIT, EMBEDDING, NEIGHBOURS, SCORES
from wina_amp.routing.first_blocks import FirstBlocks
from wina_amp.routing.router import Router, embedding_features, neighbour_features

Prompts = Sequence[Int[ndarray, " tokens"]]
Facts = Mapping[str, str]
Reader = Callable[[Prompts], Float32[ndarray, "prompts features"]]
Kind = Callable[[LoadedModel, Facts, int | float], Reader]
"""Makes the function from prompts to features, once for a model, from the facts and the dense prefix."""


class PromptRouter:
    """A router on a model.

    Raises:
        UserError: unknown kind; the known ones are listed.
    """

    def __init__(self, router: Router, facts: Facts, loaded: LoadedModel, dense_prefix: int | float) -> None:
        self._router = router
        self._reader = kind_of(facts)(loaded, facts, dense_prefix)

    def __call__(self, prompts: Prompts) -> Int[Tensor, " prompts"]:
        """The group of every prompt, int64 on the CPU; the model must run dense during the call.

        Args:
            prompts: token ids without padding, special tokens included.
        """
        with torch.no_grad():
            return self._router(torch.from_numpy(self._reader(prompts))).argmax(dim=1)


def kind_of(facts: Facts) -> Kind:
    """The row of `KINDS`.

    Raises:
        UserError: unknown kind; the known ones are listed.
    """
    name = facts.get("router", "")
    if name not in KINDS:
        raise unknown("kind of router", name, KINDS, "the router of the profile set")
    return KINDS[name]


def _embedding(loaded: LoadedModel, _facts: Facts, _dense_prefix: int | float) -> Reader:
    table = cast(nn.Embedding, loaded.model.get_input_embeddings()).weight
    return lambda prompts: embedding_features(table, prompts)


def _neighbours(loaded: LoadedModel, _facts: Facts, _dense_prefix: int | float) -> Reader:
    table = cast(nn.Embedding, loaded.model.get_input_embeddings()).weight
    return lambda prompts: neighbour_features(table, prompts)


def _scores(loaded: LoadedModel, facts: Facts, dense_prefix: int | float) -> Reader:
    blocks, dim, seed = (int(facts[name]) for name in ("blocks", "dim", "seed"))
    return FirstBlocks(loaded, blocks=blocks, dim=dim, seed=seed, dense_prefix=dense_prefix)


KINDS: dict[str, Kind] = {EMBEDDING: _embedding, NEIGHBOURS: _neighbours, SCORES: _scores, BENEFIT: _neighbours}
