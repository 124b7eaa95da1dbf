"""`wina-amp inspect`: what a profile set holds, from its description and its thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from wina_amp.cli.output import show_table
from wina_amp.cli.thresholds import written
from wina_amp.names import ALLOCATIONS, CRITERIA, ROUTER_KINDS, SCHEMES
from wina_amp.profile_set.profile_set import ProfileSet


def facts(path_or_repo: str) -> dict[str, Any]:
    """The description of a profile set, and how its thresholds are distributed.

    `thresholds` has a row for every target, group and projection: the least, the median and the greatest over blocks.
    """
    profile_set = ProfileSet.from_pretrained(path_or_repo)
    return asdict(profile_set.description) | {"thresholds": list(_summaries(profile_set))}


def show(facts: Mapping[str, Any]) -> None:
    """Write `facts` as tables."""
    show_table(f"Profile set {facts['name']}", ("", ""), list(_overview(facts)))
    sizes = [(each["name"], "not known" if each["samples"] is None else each["samples"]) for each in facts["groups"]]
    show_table("Groups", ("group", "calibration samples"), sizes)
    columns = ("target", "samples", "accuracy, %", "accuracy drop, points", "realised sparsity, %", "FLOPs left, %")
    show_table(f"Measured, with {facts['confidence']:.0%} intervals", columns, list(_measured(facts)))
    names = ("target", "group", "projection", "least", "median", "greatest")
    rows = [[row[name] for name in names] for row in facts["thresholds"]]
    show_table("Thresholds over blocks: a score at or below is masked", names, rows)


def _summaries(profile_set: ProfileSet) -> Iterator[dict[str, Any]]:
    description = profile_set.description
    for target, of_target in zip(description.targets, profile_set.thresholds, strict=True):
        for group, of_group in zip(description.groups, of_target, strict=True):
            for projection, blocks in zip(description.model.projections, of_group.T.tolist(), strict=True):
                yield {
                    "target": target,
                    "group": group.name,
                    "projection": projection,
                    "least": written(min(blocks)),
                    "median": written(median(blocks)),
                    "greatest": written(max(blocks)),
                }


def _overview(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, router = facts["model"], facts["router"]
    source = f"{model['repository']} at {model['commit']}" if model["repository"] else "a local folder"
    yield "model", f"{model['family']}, {model['blocks']} blocks, {model['dtype']}, {source}"
    yield "criterion", _explained(facts["criterion"], CRITERIA)
    yield "allocation", _explained(facts["allocation"], ALLOCATIONS)
    yield "scheme", _explained(facts["scheme"], SCHEMES)
    yield "router", "none" if router is None else _explained(router["router"], ROUTER_KINDS)
    yield "targets", ", ".join(f"{target:g}" for target in facts["targets"])
    yield "dense prefix", str(facts["dense_prefix"])
    yield "transform", model["transform"]
    yield "calibrated on", ", ".join(facts["calibration"])
    yield "evaluated on", ", ".join(facts["evaluated"])
    yield "made with", ", ".join(f"{name} {version}" for name, version in sorted(facts["versions"].items()))


def _measured(facts: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    for target, row in zip(facts["targets"], facts["measured"], strict=True):
        if row is None:
            yield target, "not evaluated", "", "", "", ""
        else:
            yield target, row["samples"], *(_percent(row[n]) for n in ("accuracy", "loss", "sparsity", "compute"))


def _percent(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate['value']:.1f} [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"


def _explained(name: str, known: Mapping[str, str]) -> str:
    return f"{name}: {known[name]}" if name in known else name
