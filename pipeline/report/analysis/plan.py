"""The plan of an experiment: its methods and settings, as far as the report needs them, in plain values.

A method is dense, pooled (one profile for all), routed (a router chooses the profile from the prompt), or uses known
groups: oracle, label or, as a control, random groups. These roles follow from the profile set's scheme and the source
of the groups, so new methods in params.yaml need no change here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wina_amp.errors import UserError
from wina_amp.names import GLOBAL, LEARNED_SCHEMES, RANDOM_SCHEMES

RANDOM = RANDOM_SCHEMES[0]
ASSIGNED = "assigned"


@dataclass(frozen=True)
class Method:
    """One row of `methods` in params.yaml, together with the profile set it names.

    `groups` is the source of a sample's group: `assigned` (the scheme's assignment table) or a router's name. The masks
    of a method that `is_limited` reach only a part of the weights, so it may have no result at the sparsest targets.
    One that `takes_allocation` has the pooled sparsities, and only thresholds of its groups.
    The dense model has no profile; its other fields are empty.
    """

    name: str
    profile: str = ""
    scheme: str = ""
    criterion: str = ""
    allocation: str = ""
    groups: str = ""
    mask: str = ""
    is_limited: bool = False
    takes_allocation: bool = False

    @property
    def is_dense(self) -> bool:
        return not self.profile

    @property
    def is_routed(self) -> bool:
        """Whether a router chooses among informative groups; a benefit router over random groups is a control."""
        return not self.is_dense and self.groups != ASSIGNED and not self.is_control

    @property
    def is_pooled(self) -> bool:
        return self.scheme == GLOBAL

    @property
    def is_learned(self) -> bool:
        """Whether its groups were learned from activations or gradients."""
        return self.scheme in LEARNED_SCHEMES

    @property
    def configuration(self) -> tuple[str, str, str]:
        """Criterion, allocation and mask, which methods must share for their groups to be compared."""
        return self.criterion, self.allocation, self.mask

    @property
    def is_control(self) -> bool:
        """Whether its groups are random: what it gains, grouping gains without information."""
        return self.scheme in RANDOM_SCHEMES


@dataclass(frozen=True)
class Plan:
    """The parts of params.yaml that the report needs, as plain values.

    Args:
        methods: every method, in the order of params.yaml; exactly one is dense.
        targets: target sparsities, ascending.
        splits: splits that were evaluated; `test` must be among them.
        schemes: names, in order.
        routers: name, in order -> the learned scheme whose groups it names.
        benefit_routers: name, in order -> scheme of its profile set.
        limits: split -> samples of a task that every method was evaluated on; all with None or without an entry.
        primary: methods that were evaluated on all test samples, as then dense was, at `primary_targets`.
        primary_targets: some of `targets`, ascending.
        baseline: the pooled method that others are compared with.
        bootstrap: replicates behind every interval, permutations behind every permutation p-value.
        confidence: coverage of every interval, such as 0.95; effects are claimed at 1 less this.
        seed: of the bootstrap and the permutations.
        settings: as in params.yaml, shown under "settings"; nothing is computed from them.
        commit: the commit of the code and its date, shown; empty where it is not known.
        facts: `Model`, and as far as they are known `Machine` and `Time`, in words, shown.
    """

    methods: tuple[Method, ...]
    targets: tuple[float, ...]
    splits: tuple[str, ...]
    schemes: tuple[str, ...]
    routers: Mapping[str, str]
    baseline: str
    bootstrap: int = 1000
    confidence: float = 0.95
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    benefit_routers: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, int | None] = field(default_factory=dict)
    primary: tuple[str, ...] = ()
    primary_targets: tuple[float, ...] = ()
    commit: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "test" not in self.splits:
            raise UserError(
                "The report needs the test split",
                found=list(self.splits),
                where="params.yaml",
                remedy="add `test` to `evaluate.splits`",
            )

    @property
    def alpha(self) -> float:
        """The corrected p-value below which an effect is claimed."""
        return round(1 - self.confidence, 9)

    def method(self, name: str) -> Method:
        return next(method for method in self.methods if method.name == name)

    @property
    def dense(self) -> Method:
        """The dense model."""
        return next(method for method in self.methods if method.is_dense)

    @property
    def sparse(self) -> tuple[Method, ...]:
        return tuple(method for method in self.methods if not method.is_dense)

    @property
    def primary_part(self) -> Plan | None:
        """The plan of the primary comparison: dense and primary methods at the primary targets, on all test samples;
        None without a pooled primary method. Its baseline is this plan's if that is primary, else the first pooled one.
        """
        methods = tuple(method for method in self.methods if method.is_dense or method.name in self.primary)
        pooled = [method.name for method in methods if method.is_pooled]
        if not pooled:
            return None
        return replace(
            self,
            methods=methods,
            targets=self.primary_targets,
            splits=("test",),
            baseline=self.baseline if self.baseline in pooled else pooled[0],
            limits={},
            primary=(),
            primary_targets=(),
        )

    def oracle_of(self, method: Method) -> Method | None:
        """The method with the same profile set and mask that uses the assigned groups."""
        wanted = (method.profile, method.mask, ASSIGNED)
        return next((other for other in self.sparse if (other.profile, other.mask, other.groups) == wanted), None)
