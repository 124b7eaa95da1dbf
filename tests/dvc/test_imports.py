"""Which package may import which: the runtime knows nothing of the study, and dependencies go one way."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.dvc import deps

RUNTIME = (
    "errors",
    "names",
    "atomic",
    "models",
    "scoring",
    "masks",
    "tokens",
    "histograms",
    "capture",
    "thresholds",
    "grouping",
    "allocation",
    "decode",
    "routing",
    "profile_set",
    "calibration",
    "harness",
    "cli",
)
"""The packages of `wina_amp`, each of which may import only those before it."""


def test_the_runtime_does_not_import_the_study():
    assert _importers("wina_amp", ("pipeline", "stages", "commands")) == []


def test_the_study_does_not_import_its_stages():
    assert _importers("pipeline", ("stages", "commands")) == []


def test_stages_do_not_import_commands():
    assert _importers("stages", ("commands",)) == []


@pytest.mark.parametrize(("lower", "upper"), [*pairwise(RUNTIME)])
def test_packages_of_the_runtime_import_only_those_before_them(lower: str, upper: str):
    after = tuple(f"wina_amp.{name}" for name in RUNTIME[RUNTIME.index(upper) :])
    assert _importers(f"wina_amp.{lower}", after) == []


@pytest.mark.parametrize(
    "package",
    ["capture", "compute", "evaluate", "executors", "grouping", "histograms", "latency", "protocol", "routing",
     "statistics", "tokens"],
)  # fmt: skip
def test_numerics_know_nothing_of_settings_and_tables(package: str):
    tables = ("pipeline.config", "pipeline.storage")
    assert _importers(f"pipeline.{package}", tables) == []


REPORT = ("analysis", "text", "page", "exports")


@pytest.mark.parametrize(("lower", "upper"), [*pairwise(REPORT)])
def test_layers_of_the_report_know_only_those_before_them(lower: str, upper: str):
    after = tuple(f"pipeline.report.{name}" for name in REPORT[REPORT.index(upper) :])
    assert _importers(f"pipeline.report.{lower}", after) == []


def test_no_package_of_the_study_imports_in_a_circle():
    graph = deps.graph()
    packages = [f"pipeline.{child.rpartition('.')[2]}" for child in graph.find_children("pipeline")]
    uses = {package: {_package(name) for _, name in _imports(package)} - {package} for package in packages}
    circles = [(package, other) for package in uses for other in uses[package] if package in uses.get(other, set())]
    assert circles == []


def _package(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _imports(package: str) -> list[tuple[str, str]]:
    graph = deps.graph()
    inside = {package, *graph.find_descendants(package)}
    return [(name, other) for name in sorted(inside) for other in sorted(graph.find_modules_directly_imported_by(name))]


def _importers(package: str, forbidden: tuple[str, ...]) -> list[tuple[str, str]]:
    """The direct imports from a package into others that it may not know."""
    return [
        (name, other)
        for name, other in _imports(package)
        if any(other == root or other.startswith(f"{root}.") for root in forbidden)
    ]
