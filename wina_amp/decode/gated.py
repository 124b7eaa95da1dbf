"""Which MLPs a backend may run up to the input of `down` at once: those that compute down(silu(gate(x)) * up(x)).

That is the equation of every family's MLP but for the activation function, and it is transformers' own code that is
known to compute it. An MLP of remote code, or with another activation (Gemma's is a GELU), keeps its forward: gate and
up still share a launch, and the activation runs on its own. So does an MLP while somebody watches its parts with hooks,
which would see nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from torch import nn

from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import Site

_PACKAGE = "transformers."
_SILU = ("SiLU", "SiLUActivation")


@dataclass(frozen=True)
class GatedMlp:
    """An MLP that computes down(silu(gate(x)) * up(x)).

    Attributes:
        module: the MLP.
        down: its last map.
        parts: what runs in front of `down`: gate and up, or the map that holds both, and the activation.
    """

    module: nn.Module
    down: nn.Module
    parts: tuple[nn.Module, ...]

    @property
    def is_watched(self) -> bool:
        """Whether a hook on a part wants to see what goes through it."""
        return any(part._forward_hooks or part._forward_pre_hooks for part in self.parts)  # pyright: ignore[reportPrivateUsage]


def gated_mlps(loaded: LoadedModel, sites: Sequence[Site]) -> list[GatedMlp | None]:
    """For every site, the MLP that has its gate and up, if it is such an MLP; None for other sites.

    Args:
        loaded: the model.
        sites: of its projections.
    """
    path = next(one.path for one in loaded.family.linear_maps if one.name == "down").rpartition(".")[0]
    layers = attrgetter(loaded.family.layers)(loaded.model)
    downs = {one.block: one.projections[0].module for one in sites if one.name == "down"}
    found: list[GatedMlp | None] = []
    for site in sites:
        module = attrgetter(path)(layers[site.block])
        activation = attrgetter(loaded.family.activation)(layers[site.block])
        is_known = type(module).__module__.startswith(_PACKAGE) and type(activation).__name__ in _SILU
        parts = (*(one.module for one in site.projections), activation)
        is_gated = site.name == "gate_up" and is_known
        found.append(GatedMlp(module, downs[site.block], parts) if is_gated else None)
    return found
