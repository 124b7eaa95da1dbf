"""params.yaml as frozen, validated settings: the only reader of YAML.

One dataclass per top-level section; types, bounds and meanings stand at the fields and docs/params.md is generated
from them. `load` checks every value first and then what the sections must satisfy together: a profile set may only use
a scheme and a criterion that are computed, a method only a profile set and a router that exist. Everything is checked
at the start of every stage, so a mistake is found in the first second and not after an hour.

The file is read by the same parser as DVC's, so that both see the same numbers. Heavy libraries are never imported
here; the names of criteria, masks, routers and the like are therefore listed here, and a test compares them with the
registries.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import UserError, unknown
from pipeline.latency.settings import LatencySettings
from pipeline.schemas import SPLITS
from pipeline.settings import Rule, as_mapping, build, check, setting

PARAMS = "params.yaml"
DENSE = "dense"
NO_TRANSFORM = "none"

CRITERIA = ("teal", "wina", "wina_released", "cats")
GATE_CRITERIA = ("cats",)
"""Criteria that read the activated gate: their masks reach only a part of the weights, and there is one in a block."""
GRADIENT_SCHEMES = ("gradient", "gradient_random", "gradient_random1", "gradient_random2")
"""Schemes that a pooled allocation leads to; the others need none."""
LEARNED_SCHEMES = ("activation", "gradient")
SCHEMES = (
    "global", "activation", "task", "computation", "surface", "length", "random", "random1", "random2",
    *GRADIENT_SCHEMES,
)  # fmt: skip
ALGORITHMS = ("kmeans", "gmm", "hdbscan")
ALLOCATIONS = ("uniform", "greedy", "kl")
GREEDY_SEARCHES = ("exact", "lazy")
MASKS = ("threshold", "topk")
ROUTERS = ("embedding", "neighbours", "scores")
GATE = "gate"
"""The kind of router that belongs to a profile set; the others name groups of a learned scheme."""
TRANSFORMS = (NO_TRANSFORM, "orthogonal")
TOO_LONG = ("refuse", "leave_out")

T = TypeVar("T")


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
    kl_samples: int = setting(
        "train samples on which `kl` measures the curves it starts from, and compares its start with its end", low=1
    )
    kl_steps: int = setting(
        "steps down the gradient for each target; 0 takes the allocation that the measured curves give", low=0
    )
    kl_batch: int = setting("train samples in a step", low=1)
    kl_rate: float = setting("how far the logit of a sparsity moves in a step, about", above=0, high=1)
    kl_group_steps: int = setting("the same for a group that starts from a pooled allocation: steps", low=1)
    kl_group_batch: int = setting("train samples in a step of a group", low=1)
    kl_group_rate: float = setting("how far a logit moves in a step of a group, about", above=0, high=1)


@dataclass(frozen=True)
class GradientSettings:
    """The scheme `gradient`: samples that want the same change of a pooled allocation.

    `stages/regroup.py` writes it, and random groups of its sizes.
    """

    schemes: Mapping[str, str] = setting(
        "`gradient` -> the pooled `kl` profile set whose allocation is to be changed; `{}` goes without the scheme"
    )
    targets: tuple[float, ...] = setting(
        "targets, among `evaluate.targets`, at which slopes are taken", above=0, below=1
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
    gates: Mapping[str, str] = setting(
        "name -> profile set: routers to fit that predict what each group's profile brings, and leave a prompt to the "
        "pooled profile, the last group of that profile set, unless one is expected to bring something; `{}` for none"
    )
    gate_targets: tuple[float, ...] = setting(
        "targets, among `evaluate.targets`, at which gates are told what profiles bring (their mean)", above=0, below=1
    )
    blocks: int = setting("first blocks whose signatures the `scores` router reads", low=1)
    weight_decay: float = setting("L2 penalty of the routers' logistic regression", low=0)


@dataclass(frozen=True)
class DecisiveSettings:
    """The methods that RQ2 is decided with, and the targets at which they are evaluated on all test samples."""

    methods: tuple[str, ...] = setting(
        "pooled methods, the routed ones that are compared with them, and random groups of the same rung"
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
    decisive: DecisiveSettings | None = setting(
        "methods that are evaluated on all test samples, at the targets named here, as the dense model then is; needs "
        "`evaluate.test_samples`; null: none"
    )

    @property
    def limits(self) -> dict[str, int | None]:
        """Samples per task of each split on which every method is evaluated; None: all (`pipeline/portions.py`)."""
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
    "seed", "model", "benchmark", "tokens", "capture", "cluster", "schemes", "allocate", "gradient", "profiles",
    "route", "evaluate", "methods", "export", "latency", "report",
)  # fmt: skip


def load(path: str | Path = PARAMS) -> Settings:
    """Read and check `path`.

    Raises:
        UserError: no such file, not YAML, or a value breaks a rule; names `section.key`, the file and a remedy.
    """
    file = str(path)
    values = as_mapping(parse(Path(path)), "params", file)
    for key in values:
        if key not in ORDER:
            raise unknown("section", key, ORDER, file)
    missing = [key for key in ORDER if key not in values]
    if missing:
        raise _error(f"{file} must have the sections {', '.join(ORDER)}", f"no {', '.join(missing)}", file, "add them")
    checked: dict[str, Any] = {name: build(cls, values[name], name, file) for name, cls in SECTIONS.items()}
    checked |= {name: _build_named(cls, values[name], name, file) for name, cls in NAMED_SECTIONS.items()}
    checked["seed"] = check(values["seed"], int, SEED, "seed", file)
    checked["schemes"] = check(values["schemes"], tuple[str, ...], SCHEME_LIST, "schemes", file)
    settings = Settings(**checked)
    _check_together(settings, file)
    return replace(settings, methods={DENSE: MethodSettings(None, None, None), **settings.methods})


def why_not_exported(method: MethodSettings, profile: ProfileSettings) -> str | None:
    """Why a method cannot run on new prompts by `generate()`, in words; None if it can."""
    reason = why_not_decoded(method, profile)
    if reason is None and method.groups == "assigned" and profile.scheme != "global":
        return f"its groups are read from `{method.groups_from}`, and a new prompt stands in no such table"
    return reason


def why_not_decoded(method: MethodSettings, profile: ProfileSettings) -> str | None:
    """Why a method cannot decode on a backend that skips weights, in words; None if it can."""
    if profile.criterion in GATE_CRITERIA:
        return f"criterion {profile.criterion} masks the activated gate, which no backend of sparse decoding reads"
    if method.mask != "threshold":
        return f"`mask: {method.mask}` ranks the features of every token, which takes longer than it saves"
    return None


def parse(path: Path) -> object:
    """The content of a YAML file, with a clear error where it is missing or broken."""
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "run from the repository root; `git checkout params.yaml` restores the file"
        raise _error("The settings file must exist", "no such file", str(path.absolute()), remedy) from None
    except (YAMLError, UnicodeDecodeError) as error:
        found = " ".join(str(error).split())
        raise _error("The settings file must be valid YAML", found, str(path), "correct the syntax") from error


def _build_named(cls: type[T], values: object, section: str, file: str) -> dict[str, T]:
    """A section whose keys are names of the user's choice."""
    named = as_mapping(values, section, file)
    _check_names(named, section, file)
    return {name: build(cls, values, f"{section}.{name}", file) for name, values in named.items()}


def _check_names(names: Collection[str], section: str, file: str) -> None:
    """Names of the user's choice become parts of file names and of DVC stage names."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            must = f"Names in `{section}` must be letters, digits, - and _"
            raise _error(must, repr(name), f"`{section}` in {file}", "choose another name")


def _check_together(settings: Settings, file: str) -> None:
    prefix = settings.tokens.dense_prefix
    if isinstance(prefix, float) and prefix >= 1:
        must = "`tokens.dense_prefix` must be a whole number of tokens or a share below 1"
        raise _error(must, prefix, f"`tokens.dense_prefix` in {file}", f"write {prefix:.0f} for a number of tokens")
    if "global" not in settings.schemes:
        must = "`schemes` must have `global`: pooled histograms are what every other group is compared with"
        raise _error(must, ", ".join(settings.schemes), f"`schemes` in {file}", "add it")
    _check_gradient(settings, file)
    for name, profile in settings.profiles.items():
        _must_know("scheme", profile.scheme, settings.schemes, f"profiles.{name}.scheme", file)
        _must_know("criterion", profile.criterion, settings.capture.criteria, f"profiles.{name}.criterion", file)
        if profile.allocation != "uniform" and profile.criterion in GATE_CRITERIA:
            must = f"`allocation: {profile.allocation}` needs a criterion with several masks in a block to choose from"
            found = f"criterion {profile.criterion}, which has one"
            raise _error(must, found, f"`profiles.{name}` in {file}", "use `allocation: uniform`")
        _check_start(name, profile, settings, file)
    _check_routers(settings, file)
    _check_gates(settings, file)
    for name, method in settings.methods.items():
        _check_method(name, method, settings, file)
    for name in settings.export.methods:
        _check_export(name, settings, file)
    for name in settings.latency.methods or ():
        _must_know("method", name, settings.methods, "latency.methods", file)
    _must_know("method", settings.report.baseline, settings.methods, "report.baseline", file)
    _check_calibration(settings, file)
    _check_decisive(settings, file)


def _check_gradient(settings: Settings, file: str) -> None:
    gradient, known = settings.gradient, pooled_kl(settings)
    for scheme, profile in gradient.schemes.items():
        _must_know("scheme", scheme, GRADIENT_SCHEMES[:1], "gradient.schemes", file)
        _must_know("pooled `kl` profile set", profile, known, f"gradient.schemes.{scheme}", file)
    lost = [scheme for scheme in settings.schemes if scheme in GRADIENT_SCHEMES and not gradient.schemes]
    if lost:
        must = "A scheme of groups that want the same change needs an allocation that they want to change"
        remedy = f"name a pooled `kl` profile set: `schemes: {{{GRADIENT_SCHEMES[0]}: <its name>}}`"
        raise _error(must, f"{', '.join(lost)} in `schemes`", f"`gradient.schemes` in {file}", remedy)
    stray = [f"{target:g}" for target in gradient.targets if target not in settings.evaluate.targets]
    if gradient.schemes and stray:
        must = "`gradient.targets` must be among `evaluate.targets`"
        raise _error(must, ", ".join(stray), f"`gradient.targets` in {file}", "choose targets that have allocations")


def pooled_kl(settings: Settings) -> list[str]:
    """The profile sets that are one `kl` allocation for all samples."""
    return [name for name, one in settings.profiles.items() if (one.scheme, one.allocation) == ("global", "kl")]


def _check_routers(settings: Settings, file: str) -> None:
    _check_names(settings.route.routers, "route.routers", file)
    tables = [f"assignments/{scheme}" for scheme in settings.schemes if scheme in LEARNED_SCHEMES]
    for name, router in settings.route.routers.items():
        _must_know("table of learned groups", router.groups_from, tables, f"route.routers.{name}.groups_from", file)


def _check_gates(settings: Settings, file: str) -> None:
    route = settings.route
    _check_names(route.gates, "route.gates", file)
    for name, profile in route.gates.items():
        where = f"`route.gates.{name}` in {file}"
        if name in route.routers:
            must = f"A gate must not have the name of another router ({', '.join(route.routers)})"
            raise _error(must, name, where, "choose another name")
        _must_know("profile set", profile, settings.profiles, f"route.gates.{name}", file)
        if settings.profiles[profile].scheme == "global":
            must = "A gate must have groups to choose from"
            raise _error(must, f"{profile}, which has the scheme global", where, "name a profile set of another scheme")
    stray = [f"{target:g}" for target in route.gate_targets if target not in settings.evaluate.targets]
    if route.gates and stray:
        must = "`route.gate_targets` must be among `evaluate.targets`"
        raise _error(must, ", ".join(stray), f"`route.gate_targets` in {file}", "choose targets that have profiles")


def _check_start(name: str, profile: ProfileSettings, settings: Settings, file: str) -> None:
    starts = [f"group_histograms/{profile.scheme}"]
    if profile.allocation == "kl" and profile.scheme != "global":
        starts += [
            f"allocations/{other}"
            for other in pooled_kl(settings)
            if settings.profiles[other].criterion == profile.criterion
        ]
    _must_know("start", profile.starts_from, starts, f"profiles.{name}.starts_from", file)


def _check_method(name: str, method: MethodSettings, settings: Settings, file: str) -> None:
    where = f"methods.{name}"
    if name == DENSE:
        raise _error("`dense` must not be listed: it is always evaluated", where, file, f"remove `{where}`")
    _must_know("profile set", method.profile, settings.profiles, f"{where}.profile", file)
    scheme = settings.profiles[str(method.profile)].scheme
    tables = [f"assignments/{scheme}"]
    tables += [f"routes/{name}" for name, router in settings.route.routers.items() if router.scheme == scheme]
    tables += [f"routes/{gate}" for gate, profile in settings.route.gates.items() if profile == method.profile]
    _must_know("table of groups", method.groups_from, tables, f"{where}.groups_from", file)
    _must_know("mask", method.mask, MASKS, f"{where}.mask", file)


def _check_export(name: str, settings: Settings, file: str) -> None:
    _must_know("method", name, settings.methods, "export.methods", file)
    method = settings.methods[name]
    reason = why_not_exported(method, settings.profiles[str(method.profile)])
    if reason is not None:
        must = "`export.methods` must be methods that can run on new prompts"
        remedy = "list a pooled method or one whose groups come from a router, with `mask: threshold`"
        raise _error(must, f"{name}: {reason}", f"`export.methods` in {file}", remedy)


def _check_decisive(settings: Settings, file: str) -> None:
    evaluate, where = settings.evaluate, f"`evaluate.decisive` in {file}"
    decisive = evaluate.decisive
    if decisive is None:
        return
    if evaluate.test_samples is None:
        must = "`evaluate.decisive` needs `evaluate.test_samples`, beyond which only its methods are evaluated"
        raise _error(must, "null: every method is evaluated on all of them", where, "give a number, or set it to null")
    if "test" not in evaluate.splits:
        must = "`evaluate.decisive` needs the test split"
        raise _error(must, ", ".join(evaluate.splits), f"`evaluate.splits` in {file}", "add `test`, or set it to null")
    for name in decisive.methods:
        _must_know("method", name, settings.methods, "evaluate.decisive.methods", file)
    profiles = {name: settings.profiles[str(settings.methods[name].profile)] for name in decisive.methods}
    limited = [name for name, profile in profiles.items() if profile.criterion in GATE_CRITERIA]
    if limited:
        must = "`evaluate.decisive.methods` must reach every target that they are compared at"
        found = f"{limited[0]}, whose masks reach only a part of the weights"
        raise _error(must, found, where, "take it out")
    if not any(profile.scheme == "global" for profile in profiles.values()):
        must = "`evaluate.decisive.methods` must have a pooled method, with which the others are compared"
        raise _error(must, ", ".join(decisive.methods), where, "add a method whose profile set has the scheme global")
    stray = [f"{target:g}" for target in decisive.targets if target not in evaluate.targets]
    if stray:
        must = "`evaluate.decisive.targets` must be among `evaluate.targets`"
        raise _error(must, ", ".join(stray), where, "choose targets that have profiles, or set it to null")


def _check_calibration(settings: Settings, file: str) -> None:
    """A profile per task needs calibration text of every task (in time: `prepare` alone may take minutes)."""
    known = settings.benchmark.calibration
    lacking = [name for name in settings.benchmark.tasks if known is not None and name not in known]
    if lacking and "task" in settings.schemes:
        raise _error(
            "The scheme `task` needs every task of `benchmark.tasks` in `benchmark.calibration`",
            f"no {', '.join(lacking[:3])} ({len(lacking)} of {len(settings.benchmark.tasks)} tasks)",
            f"`benchmark.calibration` in {file}",
            "add them, set it to null, or take `task` out of `schemes`, with the profile sets and methods that use it",
        )


def _must_know(kind: str, name: str | None, known: Collection[str], setting_name: str, file: str) -> None:
    if name not in known:
        raise unknown(kind, name, known, f"`{setting_name}` in {file}")


def _error(must: str, found: object, where: str, remedy: str) -> UserError:
    return UserError(must, found=found, where=where, remedy=remedy)
