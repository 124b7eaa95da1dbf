"""What would only cost time in tests of stages: importing large libraries in every worker process, and UMAP."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from pipeline.executors import processes

LIBRARIES = ["numba", "pandas", "transformers.models.llama.modeling_llama"]
"""Importing them takes most of the time of a new process; with them comes torch."""


@pytest.fixture(scope="module", autouse=True)
def imported_once() -> Iterator[None]:
    """What a stage computes does not depend on it; how the study starts its processes is tested with the pool."""
    get_context("forkserver").set_forkserver_preload(LIBRARIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_START", "forkserver")
        yield


@pytest.fixture(scope="module", autouse=True)
def map_of_two_components() -> Iterator[None]:
    """UMAP, which compiles itself in every process, is tested in tests/pipeline/grouping/test_cluster_map.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.cluster.coordinates", lambda points, seed: points[:, :2])
        yield
