"""Projections that read one input (q, k and v; gate and up), run together in a decode step.

A backend may compute all of them in one launch. The projection that is called first computes all products; the others
take theirs. Each product is taken once, so a projection that is called again with the same tensor computes again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from wina_amp.decode.backends import BACKENDS
from wina_amp.decode.gated import GatedMlp
from wina_amp.decode.masked_projections import MaskedProjection, SparseProjections
from wina_amp.names import Weights


@dataclass(frozen=True)
class MaskedLayer:
    """The layer of a projection, and the cutoffs of its mask.

    Attributes:
        module: the layer.
        cutoffs: largest magnitude that is masked, per group and input (`wina_amp.masks.cutoffs`).
        number: of the projection in the model, in canonical order.
        weights: how backends store its weights.
    """

    module: nn.Linear
    cutoffs: Float32[Tensor, "groups in"]
    number: int = 0
    weights: Weights = "copy"


@dataclass(eq=False)
class SharedInput:
    """Layers that read one input, and the backends that were built for them. Calls of several threads share it.

    Attributes:
        layers: in canonical order.
        mlp: the gated MLP that reads the input; None where there is none.
        built: name of a backend -> the sparse layers.
    """

    layers: list[MaskedLayer]
    mlp: GatedMlp | None = None
    built: dict[str, SparseProjections] = field(default_factory=dict[str, SparseProjections])

    def build(self, backend: str) -> None:
        """Copy the weights into the backend's layout, once."""
        if backend not in self.built:
            projections = [
                MaskedProjection(layer.module.weight, layer.module.bias, layer.cutoffs, layer.weights)
                for layer in self.layers
            ]
            self.built[backend] = BACKENDS[backend].build(projections)

    def product(
        self, index: int, x: Float[Tensor, "batch 1 in"], backend: str, groups: Int[Tensor, " batch"], waiting: Waiting
    ) -> Float[Tensor, "batch 1 out"]:
        """The product of one layer. A layer that is given a tensor of its own (a hook may replace it) computes all.

        Args:
            index: of the layer.
            x: the input of a decode step.
            backend: a backend that was built.
            groups: group of every sequence.
            waiting: of the call; what the other layers get is kept there.
        """
        computed_from, products = waiting.get(self, (None, {}))
        if computed_from is not x or index not in products:
            products = dict(enumerate(self.built[backend](x[:, 0], groups)))
            waiting[self] = x, products
        product = products.pop(index)
        if not products:
            del waiting[self]
        return product[:, None]


Waiting = dict[SharedInput, tuple[Tensor, dict[int, Tensor]]]
"""Input -> the tensor whose products wait, and these by the index of their layer, until the layer takes its own."""
