"""report: all tables -> report page, metrics and plot data.

Reads the tables of the methods, schemes and routers that params.yaml names, not all files of the folders: a method that
was removed from params.yaml leaves its files behind.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.compute.sizes import sizes_of
from pipeline.config import protocol
from pipeline.config.methods import MethodSettings
from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.protocol.confirmed import Confirmed, confirmed
from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.pairs import check_replicates
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.exports.write import write_report
from pipeline.report.text.provenance import model_in_words, time_in_words
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
from stages.inputs import paths
from stages.inputs.durations import durations
from stages.inputs.leftovers import outs_and_deps
from wina_amp.errors import RESTORE, UserError
from wina_amp.models import manifest
from wina_amp.models.integrity import config_of
from wina_amp.models.source import config_folder
from wina_amp.names import DENSE, GATE_CRITERIA, GRADIENT, POOLED

_SAMPLE_COLUMNS = (
    "sample_id",
    "task",
    "split",
    "kind",
    "subject",
    "computation",
    "template",
    "prompt",
    "shots",
    "choices",
    "doc_hash",
    "answer_ids",
    "n_tokens",
)

ANSWERS, RECORD = "answers.json", "record.json"

CODE = ("wina_amp", "pipeline", "stages", "params.yaml", "requirements.txt")
"""What the page's numbers follow from, of all that a commit holds."""

log = logging.getLogger("stages.report")


def main(settings: Settings) -> None:
    """Read all tables; write `report/`, `plots/` and `metrics.json`."""
    plan = replace(_plan(settings), facts=_facts(settings))
    write_report(
        plan,
        _evidence(plan, settings.study),
        report=Path(paths.REPORT),
        metrics=Path(paths.METRICS),
        plots=Path(paths.PLOTS),
    )


def check_settings(settings: Settings) -> None:
    """Refuse settings that the report would refuse, when everything else has been computed.

    Raises:
        UserError: see `check_replicates`.
    """
    check_replicates(_plan(settings))


def _plan(settings: Settings) -> Plan:
    primary = settings.evaluate.primary
    methods = (_method(name, row, settings.profiles) for name, row in settings.methods.items())
    return Plan(
        methods=(Method(DENSE), *methods),
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
        settings=asdict(settings),
        commit=_commit(),
    )


def _facts(settings: Settings) -> dict[str, str]:
    """The model, the machine and the time in words."""
    model = settings.model
    config = config_of(config_folder(model.path, model.revision))
    sizes = sizes_of(config)
    is_embedded = model.path == paths.REFERENCE_MODEL
    name = manifest.read(paths.MANIFEST).repository or Path(model.path).resolve().name
    words = model_in_words(
        name, config["model_type"], sizes.parameters, sizes.blocks, model.dtype, is_embedded=is_embedded
    )
    outs, _ = outs_and_deps(settings)
    took = durations(outs - {paths.REPORT, paths.PLOTS, paths.METRICS})
    if took is None:
        return {"Model": words, "Time": "not known: all results came from a cache"}
    return {"Model": words, "Machine": took.machine, "Time": time_in_words(took.seconds, is_all=took.is_all)}


def _method(name: str, row: MethodSettings, profiles: dict[str, ProfileSettings]) -> Method:
    profile = profiles[row.profile]
    return Method(
        name,
        row.profile,
        profile.scheme,
        profile.criterion,
        profile.allocation if profile.allocation != POOLED else profiles[str(profile.parent)].allocation,
        row.groups,
        row.mask,
        is_limited=profile.criterion in GATE_CRITERIA,
        takes_allocation=profile.allocation == POOLED,
    )


def _commit() -> str:
    """The commit and its date, "with changes" if the code or the settings differ from it; empty without Git."""
    git = shutil.which("git")
    if git is None:
        return ""
    try:
        named = subprocess.run(
            [git, "log", "-1", "--format=%h, %cs"], capture_output=True, text=True, check=True, timeout=30
        )
        same = subprocess.run(
            [git, "diff", "--quiet", "HEAD", "--", *CODE], capture_output=True, check=False, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return named.stdout.strip() + (" with changes" if same.returncode else "")


def _evidence(plan: Plan, study: str) -> Evidence:
    routers = (*plan.routers, *plan.benefit_routers)
    profiles = dict.fromkeys(method.profile for method in plan.sparse)
    return Evidence(
        samples=SAMPLES.read(paths.SAMPLES, columns=_SAMPLE_COLUMNS),
        sample_counts=SAMPLE_COUNTS.read(paths.SAMPLE_COUNTS),
        assignments={name: ASSIGNMENTS.read(paths.assignments(name)) for name in plan.schemes},
        variants=CLUSTER_VARIANTS.read(paths.CLUSTER_VARIANTS),
        cluster_map=CLUSTER_MAP.read(paths.CLUSTER_MAP),
        quality=_json(paths.CLUSTER_QUALITY, "The quality of the clusters"),
        gradient=_json(paths.GRADIENT_QUALITY, "The quality of the gradient clusters")
        if GRADIENT in plan.schemes
        else {},
        routes={name: ROUTES.read(paths.routes(name)) for name in routers},
        held_out={name: HELD_OUT.read(paths.held_out(name)) for name in routers},
        benefits={name: BENEFITS.read(paths.benefits(name)) for name in plan.benefit_routers},
        costs=_costs(profiles),
        profiles={name: PROFILES.read(paths.profiles(name)) for name in profiles},
        results={method.name: RESULTS.read(paths.results(method.name)) for method in plan.methods},
        timings=TIMINGS.read(Path(paths.LATENCY, "timings.parquet")),
        latency_facts=_json(Path(paths.LATENCY, "facts.json"), "The facts about the timings"),
        confirmed=_confirmed(study),
    )


def _confirmed(study: str) -> Confirmed | None:
    """The answers of the confirmation split, if they are of this checkpoint and of the protocol as it stands."""
    folder = Path(protocol.STUDIES, study, "confirmation")
    if not (folder / ANSWERS).exists():
        return None
    asked, model = protocol.load(protocol.file_of(study)), manifest.read(paths.MANIFEST).digest
    answers, runs = _json(folder / ANSWERS, "The confirmed answers"), _json(folder / RECORD, "Their record")
    try:
        run = next((run for run in runs if (run["protocol"], run["model"]) == (asked.digest, model)), None)
        if run is None:
            log.info("%s is of another model or protocol, and not shown", folder)
            return None
        return confirmed({name: asdict(question) for name, question in asked.questions.items()}, answers, run)
    except (KeyError, TypeError) as error:
        raise UserError(
            "A confirmed answer must have what `python -m commands.confirm` writes",
            found=f"{type(error).__name__}: {error}",
            where=str(folder),
            remedy=f"`git checkout {folder}`",
        ) from error


def _costs(profiles: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Of every profile set, and of learned weights if there are any."""
    costs = {name: ALLOCATION_COSTS.read(paths.allocation_costs(name)) for name in profiles}
    learned = ALLOCATION_COSTS.read(paths.FEATURE_WEIGHTS_COSTS)
    return costs if learned.empty else {FEATURE_WEIGHTS.name: learned} | costs


def _json(file: str | Path, what: str) -> Any:
    """An object, or a list of them."""
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        if not isinstance(found, dict | list):
            raise ValueError(f"{type(found).__name__} at its root")
        return found
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        remedy = RESTORE if Path(file).exists() else "run `dvc repro`, which makes it, or `dvc checkout`"
        raise UserError(f"{what} must be a readable JSON file", found=reason, where=str(file), remedy=remedy) from error
