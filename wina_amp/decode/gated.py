"""MLPs that compute down(silu(gate(x)) * up(x)): a backend may run these up to the input of `down` at once.

Every family's MLP has this form except for the activation function, but only transformers' own code is known to compute
it. An MLP of remote code, or with another activation (Gemma's is a GELU), keeps its forward: gate and up still share a
launch, and the activation runs on its own. So does an MLP whose parts have hooks, which would otherwise never be
called.
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
        down: its last projection.
        parts: the modules in front of `down`: gate and up, or the projection that fuses them, and the activation.
    """

    module: nn.Module
    down: nn.Module
    parts: tuple[nn.Module, ...]

    @property
    def is_watched(self) -> bool:
        """Whether a part has a hook."""
        return any(part._forward_hooks or part._forward_pre_hooks for part in self.parts)  # pyright: ignore[reportPrivateUsage]


def gated_mlps(loaded: LoadedModel, sites: Sequence[Site]) -> list[GatedMlp | None]:
    """For every input of projections, the gated MLP that reads it; None where there is none."""
    path = next(linear.path for linear in loaded.family.linear_maps if linear.name == "down").rpartition(".")[0]
    downs = {site.block: site.projections[0].module for site in sites if site.name == "down"}
    mlps: list[GatedMlp | None] = []
    for site in sites:
        module = attrgetter(path)(loaded.layers[site.block])
        activation = attrgetter(loaded.family.activation)(loaded.layers[site.block])
        is_known = type(module).__module__.startswith(_PACKAGE) and type(activation).__name__ in _SILU
        parts = (*(projection.module for projection in site.projections), activation)
        is_gated = site.name == "gate_up" and is_known
        mlps.append(GatedMlp(module, downs[site.block], parts) if is_gated else None)
    return mlps
