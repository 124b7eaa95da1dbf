"""The table of configurations: methods that differ only in whose profile a sample gets stand on one configuration.

A configuration is a criterion, an allocation and a kind of mask; on it stand the pooled method and its variants with
groups, and whatever separates those is due to the groups. What a configuration and a method's place on it are called
follows from the profile set and from where groups come from, never from names in params.yaml.
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
MASK_NAMES = {"threshold": "threshold", "topk": "top-k"}


@dataclass(frozen=True)
class Configuration:
    """One criterion, allocation and mask. `methods`: pooled first, then controls, given, true and routed groups."""

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
    keys = dict.fromkeys(method.configuration for method in plan.sparse)
    return [
        Configuration(*key, methods=tuple(sorted(_on(plan, key), key=lambda one: _place(plan, one)))) for key in keys
    ]


def configuration_of(plan: Plan, method: Method) -> Configuration:
    """The configuration that a sparse method stands on."""
    return next(configuration for configuration in configurations(plan) if method in configuration.methods)


def pooled_of(plan: Plan, method: Method) -> Method | None:
    """The pooled method on a grouped method's own configuration; None where there is none."""
    return None if method.is_dense or method.is_pooled else configuration_of(plan, method).pooled


def configuration_name(plan: Plan, configuration: Configuration) -> str:
    """ "WINA, greedy"; with the kind of mask only if the plan has several."""
    parts = [CRITERION_NAMES.get(configuration.criterion, configuration.criterion), configuration.allocation]
    if len({method.mask for method in plan.sparse}) > 1:
        parts.append(MASK_NAMES.get(configuration.mask, configuration.mask))
    return ", ".join(parts)


def group_kind(method: Method) -> str:
    """Whose profile a sample gets, in a few words."""
    if method.is_pooled:
        return "pooled"
    if method.is_routed:
        return f"routed by {method.groups}"
    if method.is_control:
        draw = draw_of(method.scheme)
        return f"random groups, draw {draw + 1}" if draw else "random groups"
    if method.is_learned:
        return "learned groups, true" if method.scheme == ACTIVATION else f"{method.scheme} groups, true"
    return f"{method.scheme} groups, given"


def _on(plan: Plan, key: tuple[str, str, str]) -> list[Method]:
    return [method for method in plan.sparse if method.configuration == key]


def _place(plan: Plan, method: Method) -> tuple[int, int]:
    """Pooled, with the baseline in front; controls; given labels; true learned groups; routed ones."""
    if method.is_pooled:
        return 0, int(method.name != plan.baseline)
    if method.is_control:
        return 1, draw_of(method.scheme)
    if method.is_routed:
        return 4, 0
    return (3, 0) if method.is_learned else (2, 0)
