"""Sections of params.yaml: from scores to groups, allocations and profile sets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StrictStr
from pydantic.dataclasses import dataclass

from pipeline.config.kinds import SECTION, Fraction, Many, OneOf
from wina_amp.names import ALGORITHMS, ALLOCATIONS, CALIBRATIONS, CRITERIA, GREEDY_SEARCHES, MASKED, SCHEMES


@dataclass(frozen=True, config=SECTION)
class LearnSettings:
    """How the feature weights of the criterion `learned` are found; read only where `capture.criteria` lists it."""

    targets: Many[Fraction] = Field(
        description="model-wide sparsities at which the loss is taken, alternating; one set of weights serves all "
        "targets"
    )
    warm_steps: StrictInt = Field(
        ge=0, le=10**6, description="steps of the sparsities alone, from the same one for every projection"
    )
    steps: StrictInt = Field(ge=1, le=10**6, description="steps of weights and sparsities together")
    batch: StrictInt = Field(ge=1, le=10**6, description="train samples in a step")
    rate: StrictFloat = Field(
        gt=0, le=1, description="how far the logit of a sparsity moves in a step of the latter, about"
    )
    weight_rate: StrictFloat = Field(gt=0, le=1, description="how far the logarithm of a weight moves in a step, about")
    decay: StrictFloat = Field(
        ge=0, le=1, description="fraction of it by which a step pulls the logarithm back to that of the column norm"
    )


@dataclass(frozen=True, config=SECTION)
class CaptureSettings:
    """What one forward pass over the samples records."""

    criteria: Many[Annotated[StrictStr, OneOf(CRITERIA)]] = Field(
        description="criteria whose score histograms are recorded"
    )
    mantissa_bits: StrictInt = Field(ge=0, le=8, description="resolution of the histograms: 2^bits bins per octave")
    signature_dim: StrictInt = Field(
        ge=1, le=10**5, description="numbers kept per block and mask site in a sample's signature"
    )


@dataclass(frozen=True, config=SECTION)
class ClusterSettings:
    """How samples are grouped by their activation pattern."""

    algorithm: Annotated[StrictStr, OneOf(ALGORITHMS)] = Field(description="clustering algorithm")
    count: StrictInt = Field(ge=2, le=10**4, description="number of groups; hdbscan finds its own and ignores it")
    components: StrictInt = Field(
        ge=1, le=10**5, description="principal components of the signatures that are clustered"
    )
    min_cluster_size: StrictInt = Field(ge=2, le=10**7, description="hdbscan: smallest group; the others ignore it")


@dataclass(frozen=True, config=SECTION)
class AllocateSettings:
    """How the sparsity budget is spread over projections."""

    greedy_step: StrictFloat = Field(
        ge=0.001,
        le=1,
        description="sparsity that one round of `greedy` gives to the first projection; the others get the same "
        "number of weights",
    )
    greedy_tokens: StrictInt = Field(
        ge=1,
        le=10**7,
        description="calibration tokens that `greedy` measures block errors on, all groups of a profile set together",
    )
    greedy_search: Annotated[StrictStr, OneOf(GREEDY_SEARCHES)] = Field(
        description="whether a round of `greedy` tries all steps, as published (exact), or the likely ones (lazy: "
        "half the time, errors about the same)"
    )
    kl_steps: StrictInt = Field(
        ge=1,
        le=10**6,
        description="steps down the gradient for each target; a group that shrinks towards a pooled allocation takes "
        "a quarter of them",
    )
    kl_tokens: StrictInt = Field(
        ge=1,
        le=10**10,
        description="tokens of train text that all steps of one target read together; a group that shrinks towards a "
        "pooled allocation reads a quarter",
    )
    kl_rate: StrictFloat = Field(
        gt=0,
        le=1,
        description="how far the logit of a sparsity moves in a step, about",
    )


@dataclass(frozen=True, config=SECTION)
class GradientSettings:
    """The scheme `gradient`: samples whose allocation gradients agree.

    `stages/gradient_clusters.py` writes it, and random groups of its sizes.
    """

    pooled: tuple[StrictStr, ...] = Field(
        max_length=1,
        description="the pooled `kl` profile set whose allocation is to be changed, as a list of one; `[]` goes "
        "without the scheme",
    )
    targets: Many[Fraction] = Field(description="targets, among `evaluate.targets`, at which gradients are taken")
    counts: Many[Annotated[StrictInt, Field(ge=2, le=10**4)]] = Field(
        description="numbers of groups to choose from: the fewest within a standard error of the largest held-out gain"
    )


@dataclass(frozen=True, config=SECTION)
class ThresholdSettings:
    """How thresholds are calibrated."""

    tokens: StrictInt = Field(
        ge=1,
        le=10**9,
        description="tokens of a group's train text that `calibration: masked` runs, to the end of a sample; all of "
        "them if there are fewer",
    )


@dataclass(frozen=True, config=SECTION)
class ProfileSettings:
    """A profile set: thresholds for every group of a scheme."""

    scheme: Annotated[StrictStr, OneOf(SCHEMES)] = Field(description="which groups; must be listed in `schemes`")
    criterion: Annotated[StrictStr, OneOf(CRITERIA)] = Field(
        description="how features are scored; must be listed in `capture.criteria`"
    )
    allocation: Annotated[StrictStr, OneOf(ALLOCATIONS)] = Field(
        description="how the sparsity budget is spread over projections"
    )
    starts_from: StrictStr = Field(
        description="what allocations are made from: `group_histograms/<scheme>`; or `allocations/<pooled profile "
        "set>`, for `pooled`, which takes them as they are, and for groups of `greedy` or `kl` that shrink "
        "towards them"
    )
    calibration: Annotated[StrictStr, OneOf(CALIBRATIONS)] = Field(
        default=MASKED, description="which scores thresholds are quantiles of; masked unless it is given"
    )

    @property
    def parent(self) -> str | None:
        """The profile set whose allocations this one's begin as; None if they begin with nothing."""
        folder, _, name = self.starts_from.partition("/")
        return name if folder == "allocations" else None
