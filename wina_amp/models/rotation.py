"""Rotated inputs at run time: attention or an MLP reads V^T x where its decoder layer passes x.

V belongs to the module that reads the rotated input, as its submodule `input_rotation`, and a forward pre-hook applies
it. Hooks on projections, `generate()` and key/value caches therefore treat a rotated model like any other. Code that
runs a part of a layer by hand calls `rotated` on the input of that part; code that records the input of attention in
order to pass it in again registers the recording hook with `prepend=True`, before the rotation.

The weights that make up for the rotation are made in `wina_amp/models/transform.py`.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wina_amp.models.load import LoadedModel

MODULES = {"qkv": "self_attn", "gate_up": "mlp"}
"""Sites that can be rotated, and the module of a decoder layer whose input they are."""

_NAME = "input_rotation"


class Rotation(nn.Module):
    """x -> V^T x for every token. `vectors` is V in the dtype of the model, with which it moves; it is not saved."""

    vectors: Tensor

    def __init__(self, vectors: Float[Tensor, "in in"]) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors, persistent=False)

    def forward(self, x: Float[Tensor, "*tokens in"]) -> Float[Tensor, "*tokens in"]:
        """The coordinates of every token in the basis V."""
        return torch.matmul(x, self.vectors)


def rotate_input(module: nn.Module, vectors: Float[Tensor, "in in"]) -> None:
    """Rotate the hidden states that `module` reads, from now on; they are its first or `hidden_states` argument.

    Raises:
        ValueError: the module's input is rotated already.
    """
    if hasattr(module, _NAME):
        raise ValueError(f"the input of {type(module).__name__} is rotated already")
    module.add_module(_NAME, Rotation(vectors))
    module.register_forward_pre_hook(_rotate, with_kwargs=True)


def rotated(module: nn.Module, x: Float[Tensor, "*tokens in"]) -> Float[Tensor, "*tokens in"]:
    """The input that the maps inside `module` read for x: V^T x, or x itself if its input is not rotated."""
    rotation = getattr(module, _NAME, None)
    return x if rotation is None else rotation(x)


def rotated_widths(loaded: LoadedModel, blocks: int | None = None) -> tuple[int, ...]:
    """The width of every rotated input in the first `blocks` blocks (None: in all); empty for a model that has none."""
    modules = [layer.get_submodule(name) for layer in loaded.layers[:blocks] for name in MODULES.values()]
    return tuple(len(cast(Rotation, getattr(module, _NAME)).vectors) for module in modules if hasattr(module, _NAME))


def _rotate(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return (rotated(module, args[0]), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": rotated(module, kwargs["hidden_states"])}
