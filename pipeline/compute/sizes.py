"""The sizes of a model, from its config.json alone.

The linear maps are those of the family's row (`wina_amp/models/families.py`), with the shapes that transformers gives
them. Biases and norms are left out: below 0.1% of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wina_amp.errors import UserError
from wina_amp.models.families import PROJECTION_ORDER, family_of

_SIZES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size")


@dataclass(frozen=True)
class Linear:
    """One linear map of a block: name, the activation it reads, features in, features out."""

    name: str
    site: str
    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        """`inputs * outputs`."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Sizes:
    """The sizes that time and memory depend on.

    Attributes:
        block: the linear maps of one block, in canonical order.
        blocks: number of blocks.
        hidden: width of the residual stream.
        vocabulary: rows of the embeddings.
        is_tied: whether `lm_head` shares the embeddings' weights.
    """

    block: tuple[Linear, ...]
    blocks: int
    hidden: int
    vocabulary: int
    is_tied: bool

    @property
    def block_weights(self) -> int:
        """Weights of one block."""
        return sum(linear.weights for linear in self.block)

    @property
    def parameters(self) -> int:
        """Weights of the model, without biases and norms."""
        return self.blocks * self.block_weights + self.hidden * self.vocabulary * (1 if self.is_tied else 2)


def sizes_of(config: Mapping[str, Any]) -> Sizes:
    """The sizes of the model that a config.json describes.

    Raises:
        UserError: a family without a row; no number where a size must be.
    """
    family = family_of(str(config.get("model_type")))
    wrong = [name for name in _SIZES if not isinstance(config.get(name), int) or config[name] < 1]
    if wrong:
        raise UserError(
            f"The config.json of the model must have its sizes as numbers ({', '.join(_SIZES)})",
            found=f"{wrong[0]}: {config.get(wrong[0])}",
            where="config.json of the model",
            remedy="restore the file, or correct `model.path` in params.yaml",
        )
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head_dim = config.get("head_dim") or hidden // heads
    query, key = heads * head_dim, (config.get("num_key_value_heads") or heads) * head_dim
    shapes = {
        "q": (hidden, query), "k": (hidden, key), "v": (hidden, key), "qkv": (hidden, query + 2 * key),
        "o": (query, hidden), "gate": (hidden, inner), "up": (hidden, inner), "gate_up": (hidden, 2 * inner),
        "down": (inner, hidden),
    }  # fmt: skip
    maps = sorted(family.linear_maps, key=lambda linear: PROJECTION_ORDER.index(linear.name))
    return Sizes(
        block=tuple(Linear(linear.name, linear.site, *shapes[linear.name]) for linear in maps),
        blocks=config["num_hidden_layers"],
        hidden=hidden,
        vocabulary=config["vocab_size"],
        is_tied=bool(config.get("tie_word_embeddings", False)),
    )
