"""What the sections of params.yaml must satisfy together.

A profile set may only use a scheme and a criterion that are computed, a method only a profile set and a router that
exist, and so on. All of it is checked at the start of every stage, so a mistake is found in the first second and not
after an hour.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.methods import MethodSettings
from pipeline.config.profiles import ProfileSettings
from wina_amp.errors import UserError, unknown
from wina_amp.names import (
    CONFIRMATION,
    DENSE,
    GATE_CRITERIA,
    GLOBAL,
    GRADIENT_SCHEMES,
    GREEDY,
    KL,
    LEARNED_SCHEMES,
    POOLED,
    PROMPT,
    TEST,
    THRESHOLD,
    UNIFORM,
)

if TYPE_CHECKING:
    from pipeline.config.params import Settings


def check_together(settings: Settings, file: str) -> None:
    """Refuse settings that contradict each other.

    Raises:
        UserError: names the settings, the file and a remedy.
    """
    if GLOBAL not in settings.schemes:
        must = "`schemes` must have `global`: pooled histograms are what every other group is compared with"
        raise UserError(must, ", ".join(settings.schemes), f"`schemes` in {file}", "add it")
    _check_gradient(settings, file)
    _check_names(settings, file)
    _check_include(settings.benchmark.include, file)
    for name, profile in settings.profiles.items():
        must_know("scheme", profile.scheme, settings.schemes, f"profiles.{name}.scheme", file)
        must_know("criterion", profile.criterion, settings.capture.criteria, f"profiles.{name}.criterion", file)
        if profile.allocation != UNIFORM and profile.criterion in GATE_CRITERIA:
            must = f"`allocation: {profile.allocation}` needs a criterion with several masks in a block to choose from"
            found = f"criterion {profile.criterion}, which has one"
            raise UserError(must, found, f"`profiles.{name}` in {file}", "use `allocation: uniform`")
        _check_start(name, profile, settings, file)
    _check_routers(settings, file)
    _check_benefit_routers(settings, file)
    for name, method in settings.methods.items():
        _check_method(name, method, settings, file)
    for name in settings.export.methods:
        _check_export(name, settings, file)
    for name in settings.latency.methods or ():
        must_know("method", name, settings.methods, "latency.methods", file)
    for name in settings.benchmark.limits:
        must_know("task", name, settings.benchmark.tasks, "benchmark.limits", file)
    _check_report(settings, file)
    _check_calibration(settings, file)
    _check_primary(settings, file)


def _check_names(settings: Settings, file: str) -> None:
    """Two names that differ in capitals alone are one file where the disk takes them for the same."""
    sections = {
        "profiles": settings.profiles,
        "methods": settings.methods,
        "route": {**settings.route.routers, **settings.route.benefit_routers},
    }
    for section, names in sections.items():
        seen: dict[str, str] = {DENSE: DENSE} if section == "methods" else {}
        for name in names:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                must = f"Names in `{section}` must differ in more than capitals: they become names of files"
                raise UserError(must, f"{other} and {name}", f"`{section}` in {file}", "choose another name")


def _check_include(include: str, file: str) -> None:
    """DVC hashes all that is in the folder, and stages do not depend on what comes behind them."""
    folder, here = Path(include).resolve(), Path.cwd().resolve()
    if folder in (here, here / "data", *here.parents):
        must = "`benchmark.include` must be a folder of tasks, not one with results or the repository in it"
        raise UserError(must, include, f"`benchmark.include` in {file}", "name a folder of its own")


def _check_gradient(settings: Settings, file: str) -> None:
    gradient = settings.gradient
    pooled = [name for name, own in settings.profiles.items() if (own.scheme, own.allocation) == (GLOBAL, KL)]
    for profile in gradient.pooled:
        must_know("pooled `kl` profile set", profile, pooled, "gradient.pooled", file)
    lost = [scheme for scheme in settings.schemes if scheme in GRADIENT_SCHEMES and not gradient.pooled]
    if lost:
        must = "A scheme of gradient clusters needs a pooled allocation, whose gradients are taken"
        remedy = "name a pooled `kl` profile set: `pooled: [<its name>]`"
        raise UserError(must, f"{', '.join(lost)} in `schemes`", f"`gradient.pooled` in {file}", remedy)
    if gradient.pooled:
        _check_targets("gradient.targets", gradient.targets, settings, file, "choose targets that have allocations")


def _check_targets(setting: str, targets: Collection[float], settings: Settings, file: str, remedy: str) -> None:
    stray = [f"{target:g}" for target in targets if target not in settings.evaluate.targets]
    if stray:
        must = f"`{setting}` must be among `evaluate.targets`"
        raise UserError(must, ", ".join(stray), f"`{setting}` in {file}", remedy)


def _check_routers(settings: Settings, file: str) -> None:
    tables = [f"assignments/{scheme}" for scheme in settings.schemes if scheme in LEARNED_SCHEMES]
    for name, router in settings.route.routers.items():
        must_know("table of learned groups", router.groups_from, tables, f"route.routers.{name}.groups_from", file)


def _check_benefit_routers(settings: Settings, file: str) -> None:
    route = settings.route
    for name, profile in route.benefit_routers.items():
        where = f"`route.benefit_routers.{name}` in {file}"
        if name in route.routers:
            must = f"A benefit router must not have the name of another router ({', '.join(route.routers)})"
            raise UserError(must, name, where, "choose another name")
        must_know("profile set", profile, settings.profiles, f"route.benefit_routers.{name}", file)
        if settings.profiles[profile].scheme == GLOBAL:
            must = "A benefit router must have groups to choose from"
            raise UserError(
                must, f"{profile}, which has the scheme global", where, "name a profile set of another scheme"
            )
        if settings.profiles[profile].allocation == POOLED or settings.profiles[profile].parent is None:
            must = "A benefit router needs a profile set that starts from a pooled one, which it can leave a prompt to"
            own = settings.profiles[profile]
            found = f"{profile}, `allocation: {own.allocation}`, which starts from {own.starts_from}"
            remedy = "name a profile set with `starts_from: allocations/<pooled set>`, of `greedy` or `kl`"
            raise UserError(must, found, where, remedy)
    if route.benefit_routers:
        remedy = "choose targets that have profiles"
        _check_targets("route.benefit_targets", route.benefit_targets, settings, file, remedy)


def _check_start(name: str, profile: ProfileSettings, settings: Settings, file: str) -> None:
    starts = [f"group_histograms/{profile.scheme}"]
    if profile.allocation == POOLED:
        starts = [
            f"allocations/{other}"
            for other, pooled in settings.profiles.items()
            if (pooled.scheme, pooled.criterion) == (GLOBAL, profile.criterion) and pooled.allocation != POOLED
        ]
    if profile.allocation in (GREEDY, KL) and profile.scheme != GLOBAL:
        pooled = (GLOBAL, profile.allocation, profile.criterion)
        starts += [
            f"allocations/{other}"
            for other, start in settings.profiles.items()
            if (start.scheme, start.allocation, start.criterion) == pooled
        ]
    must_know("start", profile.starts_from, starts, f"profiles.{name}.starts_from", file)


def _check_method(name: str, method: MethodSettings, settings: Settings, file: str) -> None:
    where = f"methods.{name}"
    if name == DENSE:
        raise UserError("`dense` must not be listed: it is always evaluated", where, file, f"remove `{where}`")
    must_know("profile set", method.profile, settings.profiles, f"{where}.profile", file)
    scheme = settings.profiles[method.profile].scheme
    tables = [f"assignments/{scheme}"]
    tables += [f"routes/{name}" for name, router in settings.route.routers.items() if router.scheme == scheme]
    tables += [
        f"routes/{router}" for router, profile in settings.route.benefit_routers.items() if profile == method.profile
    ]
    must_know("table of groups", method.groups_from, tables, f"{where}.groups_from", file)


def _check_export(name: str, settings: Settings, file: str) -> None:
    must_know("method", name, settings.methods, "export.methods", file)
    method = settings.methods[name]
    reason = why_not_exported(method, settings.profiles[method.profile])
    if reason is not None:
        must = "`export.methods` must be methods that can run on new prompts"
        remedy = "list a pooled method or one whose groups come from a router, with `mask: threshold`"
        raise UserError(must, f"{name}: {reason}", f"`export.methods` in {file}", remedy)


def _check_primary(settings: Settings, file: str) -> None:
    evaluate, where = settings.evaluate, f"`evaluate.primary` in {file}"
    primary = evaluate.primary
    if primary is None:
        return
    if evaluate.test_samples is None:
        must = "`evaluate.primary` needs `evaluate.test_samples`, beyond which only its methods are evaluated"
        raise UserError(
            must, "null: every method is evaluated on all of them", where, "give a number, or set it to null"
        )
    for name in primary.methods:
        must_know("method", name, settings.methods, "evaluate.primary.methods", file)
    profiles = {name: settings.profiles[settings.methods[name].profile] for name in primary.methods}
    limited = [name for name, profile in profiles.items() if profile.criterion in GATE_CRITERIA]
    if limited:
        must = "`evaluate.primary.methods` must reach every target that they are compared at"
        found = f"{limited[0]}, whose masks reach only a part of the weights"
        raise UserError(must, found, where, "take it out")
    if not any(profile.scheme == GLOBAL for profile in profiles.values()):
        must = "`evaluate.primary.methods` must have a pooled method, with which the others are compared"
        raise UserError(must, ", ".join(primary.methods), where, "add a method whose profile set has the scheme global")
    remedy = "choose targets that have profiles, or set it to null"
    _check_targets("evaluate.primary.targets", primary.targets, settings, file, remedy)


def _check_report(settings: Settings, file: str) -> None:
    """What the last stage would refuse, after hours."""
    baseline = settings.report.baseline
    must_know("method", baseline, settings.methods, "report.baseline", file)
    scheme = settings.profiles[settings.methods[baseline].profile].scheme
    if scheme != GLOBAL:
        where, remedy = f"`report.baseline` in {file}", "name a method whose profile set has the scheme global"
        raise UserError("`report.baseline` must be a pooled method", f"{baseline}, of scheme {scheme}", where, remedy)
    if settings.evaluate.splits != (CONFIRMATION,) and TEST not in settings.evaluate.splits:
        must, where = "The report needs the test split", f"`evaluate.splits` in {file}"
        raise UserError(must, ", ".join(settings.evaluate.splits), where, "add `test`")


def _check_calibration(settings: Settings, file: str) -> None:
    """A profile per task needs calibration text of every task (in time: `prepare` alone may take minutes)."""
    known = settings.benchmark.calibration
    lacking = [name for name in settings.benchmark.tasks if known is not None and name not in known]
    if lacking and "task" in settings.schemes:
        raise UserError(
            "The scheme `task` needs every task of `benchmark.tasks` in `benchmark.calibration`",
            f"no {', '.join(lacking[:3])} ({len(lacking)} of {len(settings.benchmark.tasks)} tasks)",
            f"`benchmark.calibration` in {file}",
            "add them, set it to null, or take `task` out of `schemes`, with the profile sets and methods that use it",
        )


def why_not_exported(method: MethodSettings, profile: ProfileSettings) -> str | None:
    """Why a method cannot run on new prompts by `generate()`, in words; None if it can."""
    reason = why_not_decoded(method, profile)
    if reason is None and method.groups == "assigned" and profile.scheme != GLOBAL:
        return f"its groups are read from `{method.groups_from}`, and a new prompt stands in no such table"
    return reason


def why_not_decoded(method: MethodSettings, profile: ProfileSettings) -> str | None:
    """Why a method cannot decode on a backend that skips weights, in words; None if it can."""
    if profile.criterion in GATE_CRITERIA:
        return f"criterion {profile.criterion} masks the activated gate, which no backend of sparse decoding reads"
    if method.mask == PROMPT:
        return "`mask: prompt` takes its thresholds from every prompt, and a profile set has thresholds of its own"
    if method.mask != THRESHOLD:
        return f"`mask: {method.mask}` ranks the features of every token, which takes longer than it saves"
    return None


def must_know(kind: str, name: str, known: Collection[str], setting_name: str, file: str) -> None:
    """Refuse a name that is not among the known ones; the nearest of them is suggested."""
    if name not in known:
        raise unknown(kind, name, known, f"`{setting_name}` in {file}")
