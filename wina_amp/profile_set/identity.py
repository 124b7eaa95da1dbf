"""Which model a profile set belongs to, told by the model itself: family, shapes, and a sketch of the weights.

Thresholds mean nothing on other weights, and a checkpoint's files are seldom at hand where a model is (it may have been
loaded from the hub, in another dtype, or made in memory). So every projection is described by one number,

    r = a^T W b / ||W||_F          a, b: signs drawn from the map's place and length, the same on every machine

For two models the mean over all maps of (r - r')^2 estimates ||W - W'||^2 / ||W||^2, without bias where both have the
same norms, because E[(a^T D b)^2] = ||D||_F^2 for any matrix D. Its root, the `distance`, is about 1.4 for unrelated
weights, below 0.003 for the same weights in bfloat16 or float16, and 0 for the same file in the same dtype, up to the
rounding of sums. Fine-tuning that moves weights by less than `MOST_DISTANCE` passes: thresholds move by no more.

It is a check against mistakes, not against intent: signs that are known can be defeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from transformers import PreTrainedModel

from wina_amp.errors import UserError
from wina_amp.models.projections import Projection, projections

MOST_DISTANCE = 0.01
"""Six times what rounding to bfloat16 does to the reference model (0.0017), a hundredth of what other weights do."""


@dataclass(frozen=True)
class Shapes:
    """What can be said of a model without its numbers.

    Attributes:
        family: `model_type` of its config.
        blocks: number of decoder layers.
        maps: canonical name -> rows and columns of the map in block 0, in canonical order.
    """

    family: str
    blocks: int
    maps: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {rows}x{columns}" for name, (rows, columns) in self.maps.items())
        return f"{self.family} of {self.blocks} blocks with {sizes}"


def shapes_of(model: PreTrainedModel) -> Shapes:
    """The shapes of a model.

    Raises:
        UserError: the family is unknown, or a layer is not what its row says.
    """
    every = projections(model)
    maps = {one.name: (one.out_features, one.in_features) for one in every if one.block == 0}
    return Shapes(str(model.config.model_type), every[-1].block + 1, maps)


def sketch(model: PreTrainedModel) -> Float32[Tensor, "blocks maps"]:
    """The number r of every projection, by block and in canonical order, on the CPU; sums are float32."""
    every = projections(model)
    values = [_number(place, one) for place, one in enumerate(every)]
    return torch.stack(values).reshape(every[-1].block + 1, -1)


def distance(one: Float32[Tensor, "blocks maps"], other: Float32[Tensor, "blocks maps"]) -> float:
    """How far two models' weights differ, as a share of their size, estimated from their sketches."""
    return math.sqrt(float((one.double() - other.double()).square().mean()))


def check_shapes(expected: Shapes, found: Shapes) -> None:
    """Refuse a model that a profile set cannot be put on.

    Raises:
        UserError: another family, another number of blocks, or maps of other shapes.
    """
    if found != expected:
        raise UserError(
            f"The model must have the shapes that the profile set was made for: {expected}",
            found=str(found),
            where="the model that the profile set is put on",
            remedy="load the checkpoint that the profile set's README.md names, or export a profile set of this one",
        )


def check_weights(expected: Float32[Tensor, "blocks maps"], model: PreTrainedModel) -> None:
    """Refuse a model of the right shapes with other weights.

    Raises:
        UserError: its weights differ by more than `MOST_DISTANCE`.
    """
    found = distance(expected, sketch(model))
    if not found <= MOST_DISTANCE:
        raise UserError(
            f"The model must have the weights that the profile set was made for, up to {MOST_DISTANCE:.0%}",
            found=f"weights that differ by about {found:.1%} of their size",
            where="the model that the profile set is put on",
            remedy="load the checkpoint that the profile set's README.md names, or export a profile set of this one",
        )


def _number(place: int, one: Projection) -> Tensor:
    weight = one.module.weight.detach().float()
    rows, columns = (_signs(place, side, length).to(weight.device) for side, length in enumerate(weight.shape))
    # A matrix of zeros is described by 0.
    size = torch.linalg.vector_norm(weight).clamp_min(torch.finfo(torch.float32).tiny)
    return ((rows @ weight) @ columns / size).cpu()


def _signs(place: int, side: int, length: int) -> Float32[Tensor, " length"]:
    drawn = np.random.default_rng([place, side, length]).integers(0, 2, length)
    return torch.from_numpy((2 * drawn - 1).astype(np.float32))
