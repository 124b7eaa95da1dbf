"""The stages that spread work over a pool, after a small run of all of them: what tests disturb and compare."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.params import Settings
from pipeline.storage.parts import Parts
from pipeline.storage.scratch import file_digest
from stages import allocate, capture, gradient_clusters, profile, weights
from stages.inputs import paths
from tests.stages.test_group_stages import run_all
from tests.stages.test_group_stages import settings as group_settings

__all__ = ["group_settings"]

PROFILE_SETS = ("wina", "greedy", "kl", "clustered", "random", "kl_clustered")

STAGES: dict[str, tuple[Callable[[Settings], None], tuple[str, ...]]] = {
    "capture": (capture.main, (paths.HISTOGRAMS, paths.SIGNATURES)),
    "weights": (weights.main, (paths.FEATURE_WEIGHTS, paths.FEATURE_WEIGHTS_COSTS)),
    "greedy": (
        lambda settings: allocate.main(settings, "random"),
        (paths.allocations("random"), paths.allocation_costs("random")),
    ),
    "kl": (lambda settings: allocate.main(settings, "kl"), (paths.allocations("kl"), paths.allocation_costs("kl"))),
    "shrunk": (
        lambda settings: allocate.main(settings, "kl_clustered"),
        (paths.allocations("kl_clustered"), paths.allocation_costs("kl_clustered")),
    ),
    "gradient_clusters": (
        lambda settings: gradient_clusters.main(settings, "kl"),
        (paths.assignments("gradient"), paths.GRADIENT_QUALITY),
    ),
    "profile": (lambda settings: profile.main(settings, "clustered"), (paths.profiles("clustered"),)),
}
"""Name -> the stage, and what it writes."""


@pytest.fixture(scope="module")
def settings(group_settings: Settings) -> Settings:
    """Those of the group stages, with fewer targets."""
    return replace(group_settings, evaluate=replace(group_settings.evaluate, targets=(0.5, 0.65)))


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    """Several parts of few samples, however few there are."""
    with pytest.MonkeyPatch.context() as patch:
        cut(patch)
        yield


def cut(patch: pytest.MonkeyPatch) -> None:
    """Parts of few samples, in this process."""
    patch.setattr(capture, "BATCHES_PER_PART", 1)
    patch.setattr(gradient_clusters, "CHUNK", 8)
    patch.setattr(weights, "STORED_EVERY", 1)


@pytest.fixture(scope="module")
def local(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an undisturbed run in one process."""
    return run(settings, tmp_path_factory.mktemp("local"))


def run(settings: Settings, folder: Path) -> Path:
    """Run all stages in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all(settings, PROFILE_SETS)
    return folder


@pytest.fixture
def copy(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The undisturbed run's tables, in the current folder."""
    shutil.copytree(local / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def outs(stage: str) -> list[str]:
    """What the stage has written, as digests."""
    return [file_digest(out) for out in STAGES[stage][1]]


def forget(stage: str) -> None:
    """Remove what the stage has written."""
    for out in STAGES[stage][1]:
        shutil.rmtree(out) if os.path.isdir(out) else os.remove(out)


def at_a_write(number: int, act: Callable[[], None], patch: pytest.MonkeyPatch) -> list[str]:
    """Do something when so many parts have been written and another one is to be; the names of all that were asked
    for."""
    asked: list[str] = []
    original = Parts.write

    def write(parts: Parts, name: str, content: bytes) -> None:
        asked.append(name)
        if len(asked) == number:
            act()
        original(parts, name, content)

    patch.setattr(Parts, "write", write)
    return asked
