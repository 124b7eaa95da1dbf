"""The projections of a loaded model: the `nn.Linear` of every (block, name), and those that read the same activation.

One list, in one order (block, then q k v o gate up down), indexes every table and every array of thresholds. It is read
off the model itself through the family's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from wina_amp.errors import UserError
from wina_amp.models.families import PROJECTION_ORDER, SITES, LinearMap, family_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_Kind = TypeVar("_Kind", bound=nn.Module)


@dataclass(frozen=True)
class Projection:
    """One linear map of one block; `module.weight` is `[out_features, in_features]`.

    Attributes:
        block: decoder layer, from 0.
        name: canonical name.
        site: the activation the map reads (`families.SITES`).
        module: the layer itself.
        in_features: length of the activation, the dimension that sparsity removes.
        out_features: rows of the weight.
        slices: names of the maps fused into this one, in the order of its output rows; empty if not fused.
    """

    block: int
    name: str
    site: str
    module: nn.Linear
    in_features: int
    out_features: int
    slices: tuple[str, ...] = ()

    @property
    def gated_weights(self) -> int:
        """Weights that this projection's input features gate, `in_features * out_features`."""
        return self.in_features * self.out_features


@dataclass(frozen=True)
class Site:
    """One activation of one block and the projections that read it, in canonical order.

    Attributes:
        block: decoder layer, from 0.
        name: one of `families.SITES`.
        projections: at least one; all have the same `in_features`.
    """

    block: int
    name: str
    projections: tuple[Projection, ...]

    @property
    def features(self) -> int:
        """Length of the activation."""
        return self.projections[0].in_features


def projections(model: PreTrainedModel) -> list[Projection]:
    """Every projection of the model, ordered by block and then by `families.PROJECTION_ORDER`.

    Raises:
        UserError: the family is unknown, or a layer has no `nn.Linear` where the family's row says there is one (for
            example because the checkpoint is quantised).
    """
    family = family_of(model.config.model_type)
    maps = sorted(family.linear_maps, key=lambda linear: PROJECTION_ORDER.index(linear.name))
    layers = attrgetter(family.layers)(model)
    return [_projection(block, layer, linear) for block, layer in enumerate(layers) for linear in maps]


def sites(maps: Sequence[Projection]) -> list[Site]:
    """Group projections that read the same activation, ordered by block and then by `families.SITES`."""
    members: dict[tuple[int, str], list[Projection]] = {}
    for projection in maps:
        members.setdefault((projection.block, projection.site), []).append(projection)
    keys = sorted(members, key=lambda key: (key[0], SITES.index(key[1])))
    return [Site(block, name, tuple(members[block, name])) for block, name in keys]


def submodule(block: int, layer: nn.Module, path: str, kind: type[_Kind], must: str, remedy: str) -> _Kind:
    """The module of a decoder layer at an attribute path.

    Raises:
        UserError: nothing is there, or something else.
    """
    try:
        module = attrgetter(path)(layer)
    except AttributeError:
        module = None
    if not isinstance(module, kind):
        found = "nothing" if module is None else type(module).__name__
        raise UserError(must, found=found, where=f"block {block} of the model", remedy=remedy)
    return module


def _projection(block: int, layer: nn.Module, linear: LinearMap) -> Projection:
    must = f"Projection {linear.name} of every block must be an nn.Linear at `{linear.path}`"
    remedy = "use an unquantised checkpoint of a family listed in wina_amp/models/families.py"
    module = submodule(block, layer, linear.path, nn.Linear, must, remedy)
    return Projection(
        block=block,
        name=linear.name,
        site=linear.site,
        module=module,
        in_features=module.in_features,
        out_features=module.out_features,
        slices=linear.slices,
    )
