"""Checks that a model is the one that a profile set was made for: family, shapes, and a sketch of the weights.

Thresholds mean nothing on other weights, and the checkpoint's files may not be available where the model is (it may
have been loaded from the hub, in another dtype, or made in memory). So every projection is described by one number,

    r = a^T W b / ||W||_F          a, b: signs drawn from the projection's index and its shape, the same everywhere

For two models the mean over all projections of (r - r')^2 estimates ||W - W'||^2 / ||W||^2, without bias where both
have the same norms, because E[(a^T D b)^2] = ||D||_F^2 for any matrix D. Its root, the `distance`, is about 1.4 for
unrelated weights, below 0.003 for the same weights in bfloat16 or float16, and 0 for the same file in the same dtype,
up to the rounding of sums. Fine-tuning that moves weights by less than `MOST_DISTANCE` passes: thresholds move by no
more.

This is a check against mistakes, not against intent: the signs are known.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch
import transformers
from jaxtyping import Float32
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel, PreTrainedTokenizerBase

from wina_amp.errors import UserError
from wina_amp.models.families import family_of
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import Projection, projections

MOST_DISTANCE = 0.01
"""Six times the distance of the reference model to itself in bfloat16 (0.0017), a hundredth of that to other models."""

Stamp = tuple[tuple[int, int, torch.dtype, torch.device], ...]
"""Of every weight: its address, how often it was written, dtype and device."""

Check = Literal["weights", "shapes", "none"]
CHECKS: tuple[Check, ...] = get_args(Check)
"""How far a model is compared with the one that a profile set was made for."""

_SKETCHES: WeakKeyDictionary[PreTrainedModel, tuple[Stamp, Tensor]] = WeakKeyDictionary()
"""Model -> what its weights were when they were read, and their sketch."""


@dataclass(frozen=True)
class Shapes:
    """Family and shapes of a model.

    Attributes:
        family: `model_type` of its config.
        blocks: number of decoder layers.
        projections: name -> rows and columns of its weight in block 0, in canonical order.
    """

    family: str
    blocks: int
    projections: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {rows}x{columns}" for name, (rows, columns) in self.projections.items())
        return f"{self.family} of {self.blocks} blocks with {sizes}"


def as_loaded(model: PreTrainedModel) -> LoadedModel:
    """The model as the packages below take it, without a tokenizer.

    Raises:
        UserError: it is no language model of transformers, but a part of one or something around it (compiled,
            wrapped); or an unknown family.
    """
    if not (isinstance(cast(object, model), PreTrainedModel) and isinstance(model, GenerationMixin)):
        raise UserError(
            "A profile set must be put on a model of transformers itself, one that generates",
            found=type(model).__name__,
            where="the model that the profile set is put on",
            remedy="load it by `AutoModelForCausalLM`; pass what is inside a wrapper: `compiled._orig_mod`, or what "
            "PEFT's `merge_and_unload()` returns",
        )
    no_tokenizer = cast(PreTrainedTokenizerBase, None)
    return LoadedModel(model, no_tokenizer, model.device, family_of(model.config.model_type))


def shapes_of(model: PreTrainedModel) -> Shapes:
    """The shapes of a model.

    Raises:
        UserError: the family is unknown, or a layer is not what its row says.
    """
    every = projections(model)
    shapes = {
        projection.name: (projection.out_features, projection.in_features)
        for projection in every
        if projection.block == 0
    }
    return Shapes(str(model.config.model_type), every[-1].block + 1, shapes)


def made_with() -> dict[str, str]:
    """The versions of the libraries that a profile set is made with."""
    return {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}


def sketch(model: PreTrainedModel) -> Float32[Tensor, "blocks projections"]:
    """The number r of every projection, by block and in canonical order, on the CPU; sums are float32."""
    every = projections(model)
    values = [_number(index, projection) for index, projection in enumerate(every)]
    return torch.stack(values).reshape(every[-1].block + 1, -1)


def distance(first: Float32[Tensor, "blocks projections"], second: Float32[Tensor, "blocks projections"]) -> float:
    """The norm of the difference of two models' weights relative to their norm, estimated from their sketches."""
    return math.sqrt(float((first.double() - second.double()).square().mean()))


def check_shapes(expected: Shapes, actual: Shapes) -> None:
    """Refuse a model whose shapes are not those of the profile set's.

    Raises:
        UserError: another family, another number of blocks, or projections of other shapes.
    """
    if actual != expected:
        raise UserError(
            f"The model must have the shapes that the profile set was made for: {expected}",
            found=str(actual),
            where="the model that the profile set is put on",
            remedy="load the checkpoint that the profile set's README.md names, or export a profile set of this one",
        )


def check_weights(expected: Float32[Tensor, "blocks projections"], model: PreTrainedModel) -> None:
    """Refuse a model of the right shapes with other weights. The weights of a model are read once.

    Raises:
        UserError: its weights differ by more than `MOST_DISTANCE`.
    """
    difference = distance(expected, _sketch_once(model))
    if not difference <= MOST_DISTANCE:
        raise UserError(
            f"The model must have the weights that the profile set was made for, up to {MOST_DISTANCE:.0%}",
            found=f"weights that differ by about {difference:.1%} of their size",
            where="the model that the profile set is put on",
            remedy="load the checkpoint that the profile set's README.md names, or export a profile set of this one",
        )


def stamp(layers: Sequence[nn.Linear]) -> Stamp:
    """Where the weights of layers are and how often they were written; it changes when a weight does, unless it is
    written past torch (`.data`)."""
    weights = [layer.weight for layer in layers]
    return tuple(
        (weight.data_ptr(), -1 if weight.is_inference() else weight._version, weight.dtype, weight.device)
        for weight in weights
    )


def _sketch_once(model: PreTrainedModel) -> Tensor:
    now = stamp([projection.module for projection in projections(model)])
    before = _SKETCHES.get(model)
    if before is None or before[0] != now:
        before = _SKETCHES[model] = now, sketch(model)
    return before[1]


def _number(index: int, projection: Projection) -> Tensor:
    weight = projection.module.weight.detach().float()
    rows, columns = (_signs(index, axis, length).to(weight.device) for axis, length in enumerate(weight.shape))
    # A matrix of zeros is described by 0.
    norm = torch.linalg.vector_norm(weight).clamp_min(torch.finfo(torch.float32).tiny)
    return ((rows @ weight) @ columns / norm).cpu()


def _signs(index: int, axis: int, length: int) -> Float32[Tensor, " length"]:
    drawn = np.random.default_rng([index, axis, length]).integers(0, 2, length)
    return torch.from_numpy((2 * drawn - 1).astype(np.float32))
