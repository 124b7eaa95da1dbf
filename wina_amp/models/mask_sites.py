"""Mask sites: the activations whose features are scored and zeroed, and the weights that a zero feature saves reading.

Most criteria score the INPUT of every projection: a feature of it gates one column of that projection's matrix, `d_out`
weights. A criterion may instead read the ACTIVATED GATE of the MLP, act(gate(x)) (CATS, Lee et al. 2024):

    mlp(x) = down(act(gate(x)) * up(x))

Where a feature of it is zero, the input of `down` is zero, so a column of `down` need not be read; and the output of
`up` is multiplied by zero, so a row of `up` need not be read either. There is one such mask site in a block; it gates
`d_in(up) + d_out(down)` weights per feature, and every other projection stays dense. It is listed under `down`, whose
input features it zeroes. In a fused `gate_up` only the half that holds `up` is gated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from wina_amp.models.families import INPUT, family_of
from wina_amp.models.projections import Projection, projections, submodule

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Tap:
    """A tensor of the forward pass: the first input of a module, or its output."""

    module: nn.Module
    is_output: bool = False

    def register(self, see: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `see` with the tensor in every forward pass; what it returns, unless None, replaces the tensor."""

        def before(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            replaced = see(args[0])
            return None if replaced is None else (replaced, *args[1:])

        def after(_module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            return see(output)

        if self.is_output:
            return self.module.register_forward_hook(after)
        return self.module.register_forward_pre_hook(before)


@dataclass(frozen=True)
class MaskSite:
    """The site of one mask.

    Attributes:
        projection: the projection whose input features are zeroed; tables list the mask under its block and name.
        tap: the tensor that is scored and masked, `[batch, width, projection.in_features]`.
        gated: weights that one feature gates.
    """

    projection: Projection
    tap: Tap
    gated: int

    @property
    def gated_weights(self) -> int:
        """Weights that all features of the site gate together."""
        return self.projection.in_features * self.gated


def mask_sites(model: PreTrainedModel, reads: str) -> list[MaskSite]:
    """The mask sites of a model, ordered by block and then by `families.PROJECTION_ORDER`.

    Args:
        model: the model.
        reads: `families.INPUT`: a site for every projection. `families.ACTIVATED_GATE`: a site for every block.

    Raises:
        UserError: the family is unknown or a layer is not what its row says.
    """
    every = projections(model)
    if reads == INPUT:
        return [MaskSite(projection, Tap(projection.module), projection.out_features) for projection in every]
    family = family_of(model.config.model_type)
    layers = attrgetter(family.layers)(model)
    taps = [Tap(_activation(layer, family.activation, block), is_output=True) for block, layer in enumerate(layers)]
    ups = {up.block: up for up in every if "up" in (up.name, *up.slices)}
    downs = [projection for projection in every if projection.name == "down"]
    return [MaskSite(down, taps[down.block], down.out_features + ups[down.block].in_features) for down in downs]


def maskable_fraction(masks: Sequence[MaskSite], every: Sequence[Projection]) -> float:
    """The share of all projections' weights that the masks gate: the model-wide sparsity if they zeroed everything."""
    return sum(site.gated_weights for site in masks) / sum(projection.gated_weights for projection in every)


def _activation(layer: nn.Module, path: str, block: int) -> nn.Module:
    must = f"The activation function of every MLP must be a module at `{path}`"
    remedy = "correct `activation` in the family's row in wina_amp/models/families.py"
    return submodule(block, layer, path, nn.Module, must, remedy)
