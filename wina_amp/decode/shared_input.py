"""Projections that read one input (q, k and v; gate and up), run together in a decode step.

A backend may compute all of them in one launch. The projection that is called first computes all products; the others
take theirs. Each product is taken once, so a projection that is called again with the same tensor computes again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from wina_amp.decode.backends import BACKENDS
from wina_amp.decode.masked_projections import MaskedProjection, SparseProjections


@dataclass(frozen=True)
class MaskedLayer:
    """The layer of a projection, and the cutoffs of its mask.

    Attributes:
        module: the layer.
        cutoffs: largest magnitude that is masked, per group and input (`wina_amp.masks.cutoffs`).
    """

    module: nn.Linear
    cutoffs: Float32[Tensor, "groups in"]


@dataclass
class SharedInput:
    """Layers that read one input, and the backends that were built for them.

    Attributes:
        layers: in canonical order.
        built: name of a backend -> the sparse layers.
        computed_from: the input whose products are waiting; None if none wait.
        products: index of a layer -> its product, until the layer takes it.
    """

    layers: list[MaskedLayer]
    built: dict[str, SparseProjections] = field(default_factory=dict[str, SparseProjections])
    computed_from: Tensor | None = None
    products: dict[int, Tensor] = field(default_factory=dict[int, Tensor])

    def build(self, backend: str) -> None:
        """Copy the weights into the backend's layout, once."""
        if backend not in self.built:
            projections = [
                MaskedProjection(layer.module.weight, layer.module.bias, layer.cutoffs) for layer in self.layers
            ]
            self.built[backend] = BACKENDS[backend].build(projections)

    def product(
        self, index: int, x: Float[Tensor, "batch 1 in"], backend: str, groups: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch 1 out"]:
        """The product of one layer. A layer that is given a tensor of its own (a hook may replace it) computes all."""
        if self.computed_from is not x or index not in self.products:
            self.computed_from = x
            self.products = dict(enumerate(self.built[backend](x[:, 0], groups)))
        product = self.products.pop(index)
        if not self.products:
            self.computed_from = None
        return product[:, None]

    def clear(self) -> None:
        """Drop products that no layer took."""
        self.computed_from = None
        self.products.clear()
