"""Configurations: criterion x allocation x mask. Methods of one configuration differ in the groups only.

A configuration's name and a method's position in it follow from the profile set and from the source of its groups,
never from names in params.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.grouping.schemes import draw_of
from pipeline.report.analysis.plan import Method, Plan
from wina_amp.names import ACTIVATION

CRITERION_NAMES = {
    "teal": "TEAL",
    "wina": "WINA",
    "wina_released": "WINA as released",
    "learned": "learned weights",
    "cats": "CATS",
}
MASK_NAMES = {"threshold": "threshold", "topk": "top-k", "prompt": "thresholds of the prompt"}


@dataclass(frozen=True)
class Configuration:
    """One criterion, allocation and mask. `methods`: pooled first, then controls, label, oracle and routed groups."""

    criterion: str
    allocation: str
    mask: str
    methods: tuple[Method, ...]

    @property
    def pooled(self) -> Method | None:
        """The method that gives all samples one profile; None where none was run."""
        return next((method for method in self.methods if method.is_pooled), None)

    @property
    def grouped(self) -> tuple[Method, ...]:
        return tuple(method for method in self.methods if not method.is_pooled)

    @property
    def routed(self) -> tuple[Method, ...]:
        return tuple(method for method in self.methods if method.is_routed)

    @property
    def controls(self) -> tuple[Method, ...]:
        return tuple(method for method in self.methods if method.is_control)


def configurations(plan: Plan) -> list[Configuration]:
    """Every configuration, in the order in which params.yaml first names one of its methods."""
    ordered = sorted(plan.sparse, key=lambda method: _position(plan, method))
    keys = dict.fromkeys(method.configuration for method in plan.sparse)
    return [Configuration(*key, tuple(method for method in ordered if method.configuration == key)) for key in keys]


def configuration_of(plan: Plan, method: Method) -> Configuration:
    """The configuration that a sparse method belongs to."""
    return next(configuration for configuration in configurations(plan) if method in configuration.methods)


def configuration_name(plan: Plan, configuration: Configuration) -> str:
    """ "WINA, greedy"; with the kind of mask only if the plan has several."""
    parts = [CRITERION_NAMES[configuration.criterion], configuration.allocation]
    if len({method.mask for method in plan.sparse}) > 1:
        parts.append(MASK_NAMES[configuration.mask])
    return ", ".join(parts)


def group_kind(method: Method) -> str:
    """The source of a method's groups, in a few words."""
    if method.is_pooled:
        return "pooled"
    if method.is_routed:
        return f"routed by {method.groups}"
    if method.is_control:
        draw = draw_of(method.scheme)
        return f"random groups, draw {draw + 1}" if draw else "random groups"
    if method.is_learned:
        return "oracle groups" if method.scheme == ACTIVATION else f"oracle groups ({method.scheme})"
    return f"label groups ({method.scheme})"


def _position(plan: Plan, method: Method) -> tuple[int, int]:
    """Pooled, with the baseline in front; controls; label groups; oracle groups; routed groups."""
    if method.is_pooled:
        return 0, int(method.name != plan.baseline)
    if method.is_control:
        return 1, draw_of(method.scheme)
    if method.is_routed:
        return 4, 0
    return (3, 0) if method.is_learned else (2, 0)
