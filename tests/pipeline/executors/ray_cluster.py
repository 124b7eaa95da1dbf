"""A Ray cluster of two nodes on loopback, each with room for one worker."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.executors.ray_pool import ADDRESS

ROOT = Path(__file__).parents[3]
SIZE = {"num_cpus": 1, "memory": 2 * 10**9, "object_store_memory": 10**8}

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed (`make ray`)")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The cluster, at the address of the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={**SIZE, "include_dashboard": False})
        made.add_node(**SIZE)
        patch.setenv(ADDRESS, made.address)
        yield made
        made.shutdown()


def workers() -> list[psutil.Process]:
    """Processes of the cluster that run a task."""
    below = psutil.Process(os.getpid()).children(recursive=True)
    return [process for process in below if _title(process).startswith("ray::_RayActor")]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
