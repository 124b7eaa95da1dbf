"""report: all tables -> report page, metrics and plot data.

Reads the tables of the methods, schemes and routers that params.yaml names, not all files of the folders: a method that
was removed from params.yaml leaves its files behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.params import GATE_CRITERIA, MethodSettings, ProfileSettings, Settings
from pipeline.grouping.schemes import GRADIENT
from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.exports.write import write_report
from pipeline.storage.schemas import (
    ALLOCATION_COSTS,
    ASSIGNMENTS,
    BENEFITS,
    CLUSTER_MAP,
    CLUSTER_VARIANTS,
    FEATURE_WEIGHTS,
    HELD_OUT,
    PROFILES,
    RESULTS,
    ROUTES,
    SAMPLE_COUNTS,
    SAMPLES,
    TIMINGS,
)
from stages.run import run
from wina_amp.errors import UserError

DATA = Path("data")
QUALITY_PATH = DATA / "cluster_quality.json"
GRADIENT_PATH = DATA / "assignments" / "gradient.json"
LATENCY = DATA / "latency"

_SAMPLE_COLUMNS = (
    "sample_id",
    "task",
    "split",
    "kind",
    "subject",
    "computation",
    "template",
    "shots",
    "choices",
    "doc_hash",
    "answer_ids",
    "n_tokens",
)


def main(settings: Settings) -> None:
    """Read all tables; write `report/`, `plots/` and `metrics.json`."""
    plan = _plan(settings)
    write_report(plan, _evidence(plan), report=DATA / "report", metrics=DATA / "metrics.json", plots=DATA / "plots")


def _plan(settings: Settings) -> Plan:
    primary = settings.evaluate.primary
    methods = (_method(name, row, settings.profiles) for name, row in settings.methods.items())
    return Plan(
        methods=tuple(methods),
        targets=tuple(sorted(settings.evaluate.targets)),
        splits=settings.evaluate.splits,
        schemes=settings.schemes,
        routers={name: router.scheme for name, router in settings.route.routers.items()},
        limits=settings.evaluate.limits,
        primary=primary.methods if primary is not None else (),
        primary_targets=tuple(sorted(primary.targets)) if primary is not None else (),
        benefit_routers={
            name: settings.profiles[profile].scheme for name, profile in settings.route.benefit_routers.items()
        },
        baseline=settings.report.baseline,
        bootstrap=settings.report.bootstrap,
        confidence=settings.report.confidence,
        seed=settings.seed,
        settings=_shown(settings),
    )


def _method(name: str, row: MethodSettings, profiles: dict[str, ProfileSettings]) -> Method:
    if row.profile is None:
        return Method(name)
    profile = profiles[row.profile]
    return Method(
        name,
        row.profile,
        profile.scheme,
        profile.criterion,
        profile.allocation,
        row.groups or "",
        row.mask or "",
        is_limited=profile.criterion in GATE_CRITERIA,
    )


def _shown(settings: Settings) -> dict[str, dict[str, Any]]:
    sections = {
        "model": settings.model,
        "benchmark": settings.benchmark,
        "tokens": settings.tokens,
        "learn": settings.learn,
        "capture": settings.capture,
        "cluster": settings.cluster,
        "allocate": settings.allocate,
        "gradient": settings.gradient,
        "route": settings.route,
        "evaluate": settings.evaluate,
        "latency": settings.latency,
        "report": settings.report,
    }
    named = {name: asdict(profile) for name, profile in settings.profiles.items()}
    return {"seed": {"seed": settings.seed}, **{name: asdict(row) for name, row in sections.items()}, "profiles": named}


def _evidence(plan: Plan) -> Evidence:
    routers = (*plan.routers, *plan.benefit_routers)
    profiles = dict.fromkeys(method.profile for method in plan.sparse)
    return Evidence(
        samples=SAMPLES.read(DATA / "samples.parquet", columns=_SAMPLE_COLUMNS),
        sample_counts=SAMPLE_COUNTS.read(DATA / "sample_counts.parquet"),
        assignments={name: ASSIGNMENTS.read(DATA / "assignments" / f"{name}.parquet") for name in plan.schemes},
        variants=CLUSTER_VARIANTS.read(DATA / "cluster_variants.parquet"),
        cluster_map=CLUSTER_MAP.read(DATA / "cluster_map.parquet"),
        quality=_json(QUALITY_PATH, "The quality of the clusters"),
        gradient=_json(GRADIENT_PATH, "The quality of the gradient clusters") if GRADIENT in plan.schemes else {},
        routes={name: ROUTES.read(DATA / "routes" / f"{name}.parquet") for name in routers},
        held_out={name: HELD_OUT.read(DATA / "routes" / f"{name}.held_out.parquet") for name in routers},
        benefits={name: BENEFITS.read(DATA / "routes" / f"{name}.benefits.parquet") for name in plan.benefit_routers},
        costs=_costs(profiles),
        profiles={name: PROFILES.read(DATA / "profiles" / f"{name}.parquet") for name in profiles},
        results={method.name: RESULTS.read(DATA / "results" / f"{method.name}.parquet") for method in plan.methods},
        timings=TIMINGS.read(LATENCY / "timings.parquet"),
        latency_facts=_json(LATENCY / "facts.json", "The facts about the timings"),
    )


def _costs(profiles: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Allocation costs of every profile set, and of learned weights if there are any."""
    costs = {name: ALLOCATION_COSTS.read(DATA / "allocation_costs" / f"{name}.parquet") for name in profiles}
    learned = ALLOCATION_COSTS.read(DATA / "feature_weights.costs.parquet")
    return costs if learned.empty else {FEATURE_WEIGHTS.name: learned} | costs


def _json(path: Path, what: str) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        remedy = "run `dvc repro` to make it anew, or `dvc checkout` to restore the cached copy"
        raise UserError(f"{what} must be a readable JSON file", found=reason, where=str(path), remedy=remedy) from error


if __name__ == "__main__":
    run(main)
