"""cluster: signatures -> the group of every sample under every scheme, quality of the clusters, and the map.

All schemes are written whatever `schemes` says: they cost nothing, and later stages take those that are listed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy import ndarray

from pipeline.atomic import replacing
from pipeline.cluster_map import coordinates
from pipeline.clustering import Options, cluster, features
from pipeline.config import Settings
from pipeline.schemas import ASSIGNMENTS, CLUSTER_MAP, SAMPLES, SIGNATURES
from pipeline.schemes import NO_GROUP, one_group, shuffled_groups, task_groups
from pipeline.signature_vectors import signature_vectors
from pipeline.statistics import adjusted_rand_index, normalized_mutual_information
from stages.run import run

SAMPLES_PATH = "data/samples.parquet"
SIGNATURES_PATH = "data/signatures.parquet"
ASSIGNMENTS_PATH = "data/assignments/{scheme}.parquet"
MAP_PATH = "data/cluster_map.parquet"
QUALITY_PATH = "data/cluster_quality.json"

_LABELS = ("task", "subject", "computation", "surface", "shots")


def main(settings: Settings) -> None:
    """Read `samples` and `signatures`, write `assignments`, `cluster_map` and the quality JSON."""
    samples = SAMPLES.read(SAMPLES_PATH, columns=("sample_id", "split", *_LABELS))
    sample_ids = samples["sample_id"].tolist()
    train = (samples["split"] == "train").to_numpy()
    vectors = signature_vectors(SIGNATURES.read(SIGNATURES_PATH), sample_ids)
    points = features(vectors, train, settings.cluster.components)
    options = Options(
        settings.cluster.algorithm, settings.cluster.count, settings.cluster.min_cluster_size, settings.seed
    )
    found = cluster(points, train, options)
    groups = {
        "global": one_group(len(samples)),
        "activation": found.groups,
        "task": task_groups(samples["task"].tolist(), train),
        "random": shuffled_groups(found.groups, train, settings.seed),
    }
    for scheme, numbers in groups.items():
        rows = cast(pd.DataFrame, samples[["sample_id", "split"]]).assign(
            scheme=scheme, group=numbers, distance=found.distances if scheme == "activation" else 0.0
        )
        ASSIGNMENTS.write(rows[numbers != NO_GROUP], ASSIGNMENTS_PATH.format(scheme=scheme))
    _write_quality({**found.quality, "labels_test": _label_agreement(samples[~train], found.groups[~train])})
    plane = coordinates(points, settings.seed)
    CLUSTER_MAP.write(pd.DataFrame({"sample_id": sample_ids, "x": plane[:, 0], "y": plane[:, 1]}), MAP_PATH)


def _label_agreement(samples: Any, groups: ndarray) -> dict[str, dict[str, float]]:
    """NMI and ARI of the test samples' groups with every label that takes at least two values."""
    values = {label: samples[label].to_numpy() for label in _LABELS}
    return {
        label: {"nmi": normalized_mutual_information(groups, value), "ari": adjusted_rand_index(groups, value)}
        for label, value in values.items()
        if len(np.unique(value)) > 1
    }


def _write_quality(quality: Mapping[str, object]) -> None:
    with replacing(QUALITY_PATH) as path:
        path.write_text(json.dumps(quality, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
