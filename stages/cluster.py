"""cluster: signatures -> the group of every sample under every scheme, quality of the clusters, variants, and the map.

All schemes but those of `stages/gradient_clusters.py` are written whatever `schemes` says: they cost nothing, and later
stages take those that are listed. Only of those that are listed must every sample have a label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy import ndarray

from pipeline.config.params import Settings
from pipeline.grouping.cluster_map import coordinates, shown
from pipeline.grouping.cluster_variants import Variant, variants
from pipeline.grouping.schemes import NO_GROUP, check_labels, label_groups, length_groups, shuffled_groups
from pipeline.grouping.signature_vectors import signature_vectors
from pipeline.statistics.agreement import adjusted_rand_index, normalized_mutual_information
from pipeline.storage.schemas import ASSIGNMENTS, CLUSTER_MAP, CLUSTER_VARIANTS, SAMPLES, SIGNATURES
from stages.inputs import paths
from wina_amp.atomic import replacing
from wina_amp.grouping.clustering import Clustering, Options, cluster, features
from wina_amp.names import ACTIVATION_RANDOM_SCHEMES, LABEL_SCHEMES

_LABELS = ("task", "subject", "computation", "template", "shots")


_QUALITY_OF_VARIANTS = ("groups", "silhouette", "stability")


def main(settings: Settings) -> None:
    """Read `samples` and `signatures`, write `assignments`, `cluster_variants`, `cluster_map` and the quality JSON."""
    samples = SAMPLES.read(paths.SAMPLES, columns=("sample_id", "split", "n_tokens", *_LABELS))
    sample_ids = samples["sample_id"].tolist()
    train = (samples["split"] == "train").to_numpy()
    by_block = signature_vectors(SIGNATURES.parts(paths.SIGNATURES), sample_ids)
    points = features(by_block.reshape(len(by_block), -1, by_block.shape[3]), train, settings.cluster.components)
    options = Options(
        settings.cluster.algorithm, settings.cluster.count, settings.cluster.min_cluster_size, settings.seed
    )
    clusters = cluster(points, train, options)
    groups = _groups(samples, train, clusters, settings.seed)
    for scheme in LABEL_SCHEMES[1:]:  # `task` was checked with the settings
        if scheme in settings.schemes:
            check_labels(scheme, sample_ids, groups[scheme])
    for scheme, numbers in groups.items():
        rows = cast(pd.DataFrame, samples[["sample_id", "split"]]).assign(
            scheme=scheme, group=numbers, distance=clusters.distances if scheme == "activation" else 0.0
        )
        ASSIGNMENTS.write(rows[numbers != NO_GROUP], paths.assignments(scheme))
    others = variants(by_block, samples["n_tokens"].to_numpy(), train, settings.cluster.components, options)
    CLUSTER_VARIANTS.write(_variant_rows(sample_ids, others), paths.CLUSTER_VARIANTS)
    _write_quality(
        {
            **clusters.quality,
            "labels_test": _label_agreement(samples[~train], clusters.groups[~train]),
            "variants": {
                variant.name: {key: variant.clustering.quality[key] for key in _QUALITY_OF_VARIANTS}
                for variant in others
            },
        }
    )
    on_map = shown(len(points), settings.seed)
    plane = coordinates(points[on_map], settings.seed)
    ids = [sample_ids[number] for number in on_map]
    CLUSTER_MAP.write(pd.DataFrame({"sample_id": ids, "x": plane[:, 0], "y": plane[:, 1]}), paths.CLUSTER_MAP)


def _groups(samples: Any, train: ndarray, clusters: Clustering, seed: int) -> dict[str, ndarray]:
    """Every scheme's group of every sample."""
    tokens = samples["n_tokens"].to_numpy()
    return {
        "global": np.zeros(len(samples), dtype=np.int64),
        "activation": clusters.groups,
        **{scheme: label_groups(samples[scheme].tolist(), train) for scheme in LABEL_SCHEMES},
        "length": length_groups(tokens, clusters.groups, train, seed),
        **{
            scheme: shuffled_groups(clusters.groups, train, seed, draw)
            for draw, scheme in enumerate(ACTIVATION_RANDOM_SCHEMES)
        },
    }


def _variant_rows(sample_ids: list[str], all_variants: list[Variant]) -> pd.DataFrame:
    rows = [
        (variant.kind, variant.block, sample, group)
        for variant in all_variants
        for sample, group in zip(sample_ids, variant.clustering.groups.tolist(), strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["variant", "block", "sample_id", "group"])
    return frame.astype({"variant": str, "block": np.int16, "sample_id": str, "group": np.int32})


def _label_agreement(samples: Any, groups: ndarray) -> dict[str, dict[str, float]]:
    """NMI and ARI of the test samples' groups with every label that takes at least two values."""
    values = {label: samples[label].to_numpy() for label in _LABELS}
    return {
        label: {"nmi": normalized_mutual_information(groups, value), "ari": adjusted_rand_index(groups, value)}
        for label, value in values.items()
        if len(np.unique(value)) > 1
    }


def _write_quality(quality: Mapping[str, object]) -> None:
    with replacing(paths.CLUSTER_QUALITY) as path:
        path.write_text(json.dumps(quality, indent=2, sort_keys=True) + "\n", encoding="utf-8")
