"""Routing at run time: from new prompts to their groups.

`KINDS` has one row for every kind of router in `wina_amp/routing/router.py`: the features that it reads of a prompt,
and how the outputs of the linear layer decide. Without a `decide` of its own (one that abstains, say), the largest
output does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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


def largest(outputs: Float32[Tensor, "prompts groups"], _facts: Facts) -> Int[Tensor, " prompts"]:
    """The group of the largest output, the most probable one; of equal ones the first."""
    return outputs.argmax(dim=1)


@dataclass(frozen=True)
class Kind:
    """One kind of router.

    Attributes:
        reader: makes the function from prompts to features, once for a model, from the facts and the dense prefix.
        decide: from the outputs of the linear layer, and the facts, to groups (int64).
    """

    reader: Callable[[LoadedModel, Facts, int | float], Reader]
    decide: Callable[[Float32[Tensor, "prompts groups"], Facts], Int[Tensor, " prompts"]] = largest


class PromptRouter:
    """A router on a model.

    Args:
        router: the linear layer.
        facts: saved with it; `router` is its kind.
        loaded: the model.
        dense_prefix: see `eligibility.eligible`.

    Raises:
        UserError: unknown kind; the known ones are listed.
    """

    def __init__(self, router: Router, facts: Facts, loaded: LoadedModel, dense_prefix: int | float) -> None:
        self._router, self._facts = router, facts
        self._kind = kind_of(facts)
        self._reader = self._kind.reader(loaded, facts, dense_prefix)

    def __call__(self, prompts: Prompts) -> Int[Tensor, " prompts"]:
        """The group of every prompt, int64 on the CPU; the model must run dense during the call.

        Args:
            prompts: token ids without padding, special tokens included.
        """
        with torch.no_grad():
            outputs = self._router(torch.from_numpy(self._reader(prompts)))
            return self._kind.decide(outputs, self._facts)


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


KINDS: dict[str, Kind] = {
    EMBEDDING: Kind(_embedding),
    NEIGHBOURS: Kind(_neighbours),
    SCORES: Kind(_scores),
    BENEFIT: Kind(_neighbours),
}
