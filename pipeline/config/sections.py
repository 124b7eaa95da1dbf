"""The sections of params.yaml as frozen dataclasses: types, bounds and meanings stand at the fields.

docs/params.md is generated from them. What a single value may be is checked by `pipeline/config/fields.py`, what
sections must satisfy together by `pipeline/config/consistency.py`; `pipeline/config/params.py` reads the file and is
what others import.

Heavy libraries are never imported here; the names of criteria, masks, routers and the like are therefore listed here,
and a test compares them with the registries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config.fields import Rule, setting
from pipeline.config.latency import LatencySettings
from pipeline.storage.schemas import SPLITS

DENSE = "dense"
NO_TRANSFORM = "none"

LEARNED = "learned"
CRITERIA = ("teal", "wina", "wina_released", LEARNED, "cats")
GATE_CRITERIA = ("cats",)
"""Criteria that read the activated gate: their masks reach only a part of the weights, and there is one in a block."""
GRADIENT_SCHEMES = ("gradient", "gradient_random", "gradient_random1", "gradient_random2")
"""Schemes that a pooled allocation leads to; the others need none."""
LEARNED_SCHEMES = ("activation", "gradient")
SCHEMES = (
    "global", "activation", "task", "computation", "template", "length", "random", "random1", "random2",
    *GRADIENT_SCHEMES,
)  # fmt: skip
ALGORITHMS = ("kmeans", "gmm", "hdbscan")
ALLOCATIONS = ("uniform", "greedy", "kl")
GREEDY_SEARCHES = ("exact", "lazy")
MASKS = ("threshold", "topk")
ROUTERS = ("embedding", "neighbours", "scores")
BENEFIT = "benefit"
"""The kind of router that belongs to a profile set; the others name groups of a learned scheme."""
TRANSFORMS = (NO_TRANSFORM, "orthogonal")
TOO_LONG = ("refuse", "leave_out")


@dataclass(frozen=True)
class ModelSettings:
    """The model under study."""

    path: str = setting("folder of a Hugging Face checkpoint (safetensors), or a hub id with `revision`")
    revision: str | None = setting("commit of the hub checkpoint; null for a folder")
    dtype: str = setting("type the weights are loaded in", choices=("float32", "bfloat16", "float16"))
    device: str = setting(
        "where the model runs; auto takes a GPU if there is one, spread puts blocks on all GPUs",
        choices=("auto", "cpu", "cuda", "spread"),
    )
    transform: str = setting(
        "basis that attention and MLP read their inputs in; orthogonal (WINA's tensor transform) makes the columns of "
        "k and gate orthogonal, for two more products of hidden size by hidden size a block",
        choices=TRANSFORMS,
    )
    remote_code: bool = setting("whether Python code that the checkpoint brings along may be run")


@dataclass(frozen=True)
class BenchmarkSettings:
    """The tasks that samples are taken from."""

    include: str = setting(
        "folder of lm-eval task YAMLs and of local files that are tasks (docs/benchmarks.md); tasks not found there "
        "are taken from lm-eval's own"
    )
    tasks: tuple[str, ...] = setting("tasks that are evaluated: names of lm-eval tasks, groups or local files")
    calibration: tuple[str, ...] | None = setting(
        "tasks whose train samples profiles, groups and routers are fitted on, and no others; they need not be among "
        "`tasks`; null takes those of `tasks`"
    )
    train_samples: int = setting("items per task for calibration", low=1)
    test_samples: int = setting("held-out items per task", low=1)
    too_long: str = setting(
        "an item longer than the model's context: refuse stops, leave_out takes the next item in its place and counts",
        choices=TOO_LONG,
    )
    num_fewshot: int | None = setting(
        "solved examples in front of every item; null keeps each task's own number, and a task that fixes 0 keeps 0",
        low=0,
    )
    chat_template: bool = setting("put prompts into the tokenizer's chat template, solved examples as earlier turns")
    text_context: int = setting("text is cut into windows: words that are only read, not scored", low=1)
    text_scored: int = setting("words of a window behind those, whose likelihood is scored", low=1)


@dataclass(frozen=True)
class TokenSettings:
    """Which tokens are sparsified, and how many go through the model at once."""

    dense_prefix: int | float = setting(
        "first tokens of every prompt that stay dense (attention sinks): a whole number of tokens, or below 1 a "
        "share of the prompt, rounded up",
        low=0,
    )
    batch: int = setting("tokens per forward pass, padding included", low=1)


@dataclass(frozen=True)
class LearnSettings:
    """How the feature weights of the criterion `learned` are found; read only where `capture.criteria` lists it."""

    targets: tuple[float, ...] = setting(
        "model-wide sparsities at which the loss is taken, in turns; one set of weights serves all targets",
        above=0,
        below=1,
    )
    warm_steps: int = setting("steps of the sparsities alone, from the same one for every projection", low=0)
    steps: int = setting("steps of weights and sparsities together", low=1)
    batch: int = setting("train samples in a step", low=1)
    rate: float = setting("how far the logit of a sparsity moves in a step of the latter, about", above=0, high=1)
    weight_rate: float = setting("how far the logarithm of a weight moves in a step, about", above=0, high=1)
    decay: float = setting("share of it by which a step pulls the logarithm back to that of the column norm", low=0)


@dataclass(frozen=True)
class CaptureSettings:
    """What one forward pass over the samples records."""

    criteria: tuple[str, ...] = setting("criteria whose score histograms are recorded", choices=CRITERIA)
    mantissa_bits: int = setting("resolution of the histograms: 2^bits bins per octave", low=0, high=8)
    signature_dim: int = setting("numbers kept per block and site in a sample's signature", low=1)


@dataclass(frozen=True)
class ClusterSettings:
    """How samples are grouped by their activation pattern."""

    algorithm: str = setting("clustering algorithm", choices=ALGORITHMS)
    count: int = setting("number of groups; hdbscan finds its own and ignores it", low=2)
    components: int = setting("principal components of the signatures that are clustered", low=1)
    min_cluster_size: int = setting("hdbscan: smallest group; the others ignore it", low=2)


@dataclass(frozen=True)
class AllocateSettings:
    """How the sparsity budget is spread over projections."""

    greedy_step: float = setting(
        "sparsity that one round of `greedy` gives to the first projection; the others get the same number of weights",
        above=0,
        high=1,
    )
    greedy_tokens: int = setting("calibration tokens per group that `greedy` measures block errors on", low=1)
    greedy_search: str = setting(
        "whether a round of `greedy` tries all steps, as published (exact), or the likely ones (lazy: half the time, "
        "errors about the same)",
        choices=GREEDY_SEARCHES,
    )
    kl_samples: int = setting("train samples on which `kl` measures the curves it starts from", low=1)
    kl_steps: int = setting(
        "steps down the gradient for each target; 0 takes the allocation that the measured curves give", low=0
    )
    kl_batch: int = setting("train samples in a step", low=1)
    kl_compared: int = setting(
        "train samples on which `kl` compares start, end, and the mean of the ends of neighbouring targets", low=1
    )
    kl_rate: float = setting("how far the logit of a sparsity moves in a step, about", above=0, high=1)
    kl_group_steps: int = setting("the same for a group that starts from a pooled allocation: steps", low=1)
    kl_group_batch: int = setting("train samples in a step of a group", low=1)
    kl_group_rate: float = setting("how far a logit moves in a step of a group, about", above=0, high=1)


@dataclass(frozen=True)
class GradientSettings:
    """The scheme `gradient`: samples whose allocation gradients agree.

    `stages/gradient_clusters.py` writes it, and random groups of its sizes.
    """

    schemes: Mapping[str, str] = setting(
        "`gradient` -> the pooled `kl` profile set whose allocation is to be changed; `{}` goes without the scheme"
    )
    targets: tuple[float, ...] = setting(
        "targets, among `evaluate.targets`, at which gradients are taken", above=0, below=1
    )
    counts: tuple[int, ...] = setting(
        "numbers of groups to choose from: the fewest within a standard error of the largest held-out gain", low=2
    )


@dataclass(frozen=True)
class ProfileSettings:
    """A profile set: thresholds for every group of a scheme."""

    scheme: str = setting("which groups; must be listed in `schemes`", choices=SCHEMES)
    criterion: str = setting("how features are scored; must be listed in `capture.criteria`", choices=CRITERIA)
    allocation: str = setting("how the sparsity budget is spread over projections", choices=ALLOCATIONS)
    starts_from: str = setting(
        "what allocations are made from: `group_histograms/<scheme>`, or, for `kl` groups that shrink towards a pooled "
        "profile set and read their thresholds off its histograms, `allocations/<that profile set>`"
    )

    @property
    def parent(self) -> str | None:
        """The profile set whose allocations this one's begin as; None if they begin with nothing."""
        folder, _, name = self.starts_from.partition("/")
        return name if folder == "allocations" else None


@dataclass(frozen=True)
class RouterSettings:
    """A router that names the learned group of a prompt."""

    reads: str = setting(
        "`embedding`, the mean of the prompt's token embeddings; `neighbours`, that and the mean product of "
        "neighbouring ones; or `scores`, the signatures of the first blocks",
        choices=ROUTERS,
    )
    groups_from: str = setting("table with the groups it learns: `assignments/<learned scheme>`")

    @property
    def scheme(self) -> str:
        """Whose groups it names."""
        return self.groups_from.partition("/")[2]


@dataclass(frozen=True)
class RouteSettings:
    """How a new prompt finds its group."""

    routers: Mapping[str, RouterSettings] = setting(
        "routers to fit that name the learned group of a prompt, under names of your choice; `{}` for none"
    )
    benefit_routers: Mapping[str, str] = setting(
        "name -> profile set: routers to fit that predict what each group's profile brings, and leave a prompt to the "
        "pooled profile, the last group of that profile set, unless one is expected to bring something; `{}` for none"
    )
    benefit_targets: tuple[float, ...] = setting(
        "targets, among `evaluate.targets`, at which benefit routers are told what profiles bring (their mean)",
        above=0,
        below=1,
    )
    blocks: int = setting("first blocks whose signatures the `scores` router reads", low=1)
    weight_decay: float = setting("L2 penalty of the routers' logistic regression", low=0)


@dataclass(frozen=True)
class PrimarySettings:
    """The methods that RQ2 is decided with, and the targets at which they are evaluated on all test samples."""

    methods: tuple[str, ...] = setting(
        "pooled methods, the routed ones that are compared with them, and random groups of the same configuration"
    )
    targets: tuple[float, ...] = setting("targets, among `evaluate.targets`", above=0, below=1)


@dataclass(frozen=True)
class EvaluateSettings:
    """What every method is evaluated at, and on how many samples."""

    targets: tuple[float, ...] = setting("model-wide target sparsities", above=0, below=1)
    splits: tuple[str, ...] = setting("splits to evaluate; train leaks and is reported as leaking", choices=SPLITS)
    train_samples: int = setting("train samples per task that are evaluated, if there are as many", low=1)
    test_samples: int | None = setting(
        "test samples per task on which every method is evaluated, if there are as many; null: all", low=1
    )
    primary: PrimarySettings | None = setting(
        "methods that are evaluated on all test samples, at the targets named here, as the dense model then is; needs "
        "`evaluate.test_samples`; null: none"
    )

    @property
    def limits(self) -> dict[str, int | None]:
        """Samples per task of each split on which every method is evaluated; None: all
        (`pipeline/evaluate/portions.py`)."""
        return {"train": self.train_samples, "test": self.test_samples}


@dataclass(frozen=True)
class MethodSettings:
    """A way of running the model: a profile set, the table that says which group a sample belongs to, the kind of mask.

    `dense` is always evaluated and stands in no file: it has none of them.
    """

    profile: str | None = setting("name of a profile set in `profiles`; null is for the built-in dense")
    groups_from: str | None = setting(
        "table with the group of every sample: `assignments/<scheme of the profile set>` (known groups: an oracle, "
        "unless there is only one), `routes/<router>`, or `routes/<gate of the profile set>`"
    )
    mask: str | None = setting(
        "which features of a token are kept: `threshold`, those that score above the profile's threshold, or `topk`, "
        "exactly the profile's number of highest scores; null is for the built-in dense",
        choices=MASKS,
    )

    @property
    def groups(self) -> str | None:
        """None for dense, `assigned` if the group is known, otherwise the name of the router that predicts it."""
        if self.groups_from is None:
            return None
        kind, _, name = self.groups_from.partition("/")
        return "assigned" if kind == "assignments" else name


@dataclass(frozen=True)
class ExportSettings:
    """What is put into folders to take away (`data/profile_sets`)."""

    methods: tuple[str, ...] = setting(
        "methods whose profile sets are exported: `mask: threshold`, and one profile or groups that a router predicts"
    )


@dataclass(frozen=True)
class ReportSettings:
    """What the report compares, and how sure it must be."""

    baseline: str = setting("method that grouped methods are compared with")
    bootstrap: int = setting("bootstrap replicates of every interval, and permutations of every p-value", low=100)
    confidence: float = setting("coverage of every interval", above=0, below=1)


@dataclass(frozen=True)
class Settings:
    """All of params.yaml. `methods` begins with `dense`."""

    seed: int
    model: ModelSettings
    benchmark: BenchmarkSettings
    tokens: TokenSettings
    learn: LearnSettings
    capture: CaptureSettings
    cluster: ClusterSettings
    schemes: tuple[str, ...]
    allocate: AllocateSettings
    gradient: GradientSettings
    profiles: dict[str, ProfileSettings]
    route: RouteSettings
    evaluate: EvaluateSettings
    methods: dict[str, MethodSettings]
    export: ExportSettings
    latency: LatencySettings
    report: ReportSettings


# Settings that stand at the top level, outside any section.
SEED = Rule("seed of everything random", low=0, high=2**31 - 1)
SCHEME_LIST = Rule("ways to assign samples to groups that are computed", choices=SCHEMES)

SECTIONS: dict[str, type[Any]] = {
    "model": ModelSettings,
    "benchmark": BenchmarkSettings,
    "tokens": TokenSettings,
    "learn": LearnSettings,
    "capture": CaptureSettings,
    "cluster": ClusterSettings,
    "allocate": AllocateSettings,
    "gradient": GradientSettings,
    "route": RouteSettings,
    "evaluate": EvaluateSettings,
    "export": ExportSettings,
    "latency": LatencySettings,
    "report": ReportSettings,
}
NAMED_SECTIONS: dict[str, type[Any]] = {"profiles": ProfileSettings, "methods": MethodSettings}
ORDER = (
    "seed", "model", "benchmark", "tokens", "learn", "capture", "cluster", "schemes", "allocate", "gradient",
    "profiles", "route", "evaluate", "methods", "export", "latency", "report",
)  # fmt: skip
