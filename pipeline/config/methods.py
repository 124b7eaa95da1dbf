"""Sections of params.yaml: routers, and what methods are evaluated, timed, exported and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from pipeline.config.kinds import SECTION, Fraction, Many, Name, OneOf
from wina_amp.names import MASKS, ROUTERS, SPLITS, TEST, TRAIN


@dataclass(frozen=True, config=SECTION)
class RouterSettings:
    """A router that names the learned group of a prompt."""

    reads: Annotated[StrictStr, OneOf(ROUTERS)] = Field(
        description="`embedding`, the mean of the prompt's token embeddings; `neighbours`, that and the mean product "
        "of neighbouring ones; or `scores`, the signatures of the first blocks"
    )
    groups_from: StrictStr = Field(description="table with the groups it learns: `assignments/<learned scheme>`")

    @property
    def scheme(self) -> str:
        """Whose groups it names."""
        return self.groups_from.partition("/")[2]


@dataclass(frozen=True, config=SECTION)
class RouteSettings:
    """How a new prompt finds its group."""

    routers: Mapping[Name, RouterSettings] = Field(
        description="routers to fit that name the learned group of a prompt, under names of your choice; `{}` for none"
    )
    benefit_routers: Mapping[Name, StrictStr] = Field(
        description="name -> profile set: routers to fit that predict the benefit of each group's profile, and leave "
        "a prompt to the pooled profile, the last group of that profile set, unless one is expected to have a "
        "benefit; `{}` for none"
    )
    benefit_targets: Many[Fraction] = Field(
        description="targets, among `evaluate.targets`, at which the benefits of profiles are measured (their mean)"
    )
    blocks: StrictInt = Field(ge=1, le=10**4, description="first blocks whose signatures the `scores` router reads")
    weight_decay: StrictFloat = Field(ge=0, le=10**6, description="L2 penalty of the routers' logistic regression")


@dataclass(frozen=True, config=SECTION)
class PrimarySettings:
    """The methods of the primary comparison (RQ2), and the targets at which they are evaluated on all test samples."""

    methods: Many[StrictStr] = Field(
        description="pooled methods, the routed ones that are compared with them, and random groups of the same "
        "configuration"
    )
    targets: Many[Fraction] = Field(description="targets, among `evaluate.targets`")


@dataclass(frozen=True, config=SECTION)
class EvaluateSettings:
    """What every method is evaluated at, and on how many samples."""

    targets: Many[Fraction] = Field(description="model-wide target sparsities")
    splits: Many[Annotated[StrictStr, OneOf(SPLITS)]] = Field(
        description="splits to evaluate; train leaks and is reported as leaking"
    )
    train_samples: StrictInt = Field(
        ge=1, le=10**7, description="train samples per task that are evaluated, if there are as many"
    )
    test_samples: StrictInt | None = Field(
        ge=1,
        le=10**7,
        description="test samples per task on which every method is evaluated, if there are as many; null: all",
    )
    primary: PrimarySettings | None = Field(
        description="methods that are evaluated on all test samples, at the targets named here, as the dense model "
        "then is; needs `evaluate.test_samples`; null: none"
    )

    @property
    def limits(self) -> dict[str, int | None]:
        """Samples per task of each split on which every method is evaluated; None: all
        (`pipeline/evaluate/first_samples.py`)."""
        return {TRAIN: self.train_samples, TEST: self.test_samples}


@dataclass(frozen=True, config=SECTION)
class MethodSettings:
    """A way of running the model: a profile set, the table that says which group a sample belongs to, the kind of mask.

    The dense model is always evaluated, and is none of them.
    """

    profile: StrictStr = Field(description="name of a profile set in `profiles`")
    groups_from: StrictStr = Field(
        description="table with the group of every sample: `assignments/<scheme of the profile set>` (known groups: "
        "an oracle, unless there is only one), `routes/<router>`, or `routes/<benefit router of the profile set>`"
    )
    mask: Annotated[StrictStr, OneOf(MASKS)] = Field(
        description="which features of a token are kept: `threshold`, those that score above the profile's "
        "threshold, `topk`, exactly the profile's number of highest scores, or `prompt`, those above a threshold read "
        "off the prompt's own scores at the profile's sparsity"
    )

    @property
    def groups(self) -> str:
        """`assigned` if the group is known, otherwise the name of the router that predicts it."""
        kind, _, name = self.groups_from.partition("/")
        return "assigned" if kind == "assignments" else name


@dataclass(frozen=True, config=SECTION)
class ExportSettings:
    """What is put into folders to take away (`data/profile_sets`)."""

    methods: Many[StrictStr] = Field(
        description="methods whose profile sets are exported: `mask: threshold`, and one profile or groups that a "
        "router predicts"
    )


@dataclass(frozen=True, config=SECTION)
class LatencySettings:
    """What is timed, where sparse decoding can win at all (docs/method.md, section Latency)."""

    methods: Many[StrictStr] | None = Field(description="methods that are timed; null takes all that can decode")
    contexts: Many[Annotated[StrictInt, Field(ge=1, le=10**7)]] = Field(
        description="tokens in front of the decoded ones"
    )
    batches: Many[Annotated[StrictInt, Field(ge=1, le=8)]] = Field(description="sequences that are decoded at a time")
    steps: StrictInt = Field(ge=4, le=10**5, description="decoded tokens that are timed for every context and batch")
    answer_tokens: StrictInt = Field(
        ge=1, le=10**6, description="tokens of an answer, over which the time of routing its prompt is spread"
    )
    threads: StrictInt = Field(ge=1, le=1024, description="threads of the sparse and the dense model on a CPU")
    cache_mb: StrictFloat | None = Field(
        gt=0,
        le=10**5,
        description="size of the last-level cache in MB; null asks the machine (a virtual one may name a cache that "
        "it shares)",
    )


@dataclass(frozen=True, config=SECTION)
class ReportSettings:
    """What the report compares, and how sure it must be."""

    baseline: StrictStr = Field(description="method that grouped methods are compared with")
    bootstrap: StrictInt = Field(
        ge=100, le=10**5, description="bootstrap replicates of every interval, and permutations of every p-value"
    )
    confidence: Fraction = Field(description="coverage of every interval")
