"""Every data path that a stage reads or writes, relative to the repository's root.

dvc.yaml names the same paths; tests/stages/inputs/test_paths.py compares the two.
"""

from __future__ import annotations

BENCHMARK = "data/benchmark"
REFERENCE_MODEL = "data/reference/model"
REFERENCE_PARAMS = "data/reference/params.yaml"
REFERENCE_BUILD = "data/reference/build"
REFERENCE_PIPELINE = "data/reference/dvc.yaml"

SETTINGS = "data/settings.json"
MANIFEST = "data/model.json"
TOKENIZER = "data/tokenizer.json"
SAMPLES = "data/samples.parquet"
SAMPLE_COUNTS = "data/sample_counts.parquet"
ROTATIONS = "data/rotations"
FEATURE_WEIGHTS = "data/feature_weights.parquet"
FEATURE_WEIGHTS_COSTS = "data/feature_weights.costs.parquet"
HISTOGRAMS = "data/histograms"
SIGNATURES = "data/signatures"
CLUSTER_VARIANTS = "data/cluster_variants.parquet"
CLUSTER_MAP = "data/cluster_map.parquet"
CLUSTER_QUALITY = "data/cluster_quality.json"
GRADIENT_QUALITY = "data/assignments/gradient.json"
LATENCY = "data/latency"
REPORT = "data/report"
PLOTS = "data/plots"
METRICS = "data/metrics.json"


def table(source: str) -> str:
    """A table that a setting names: `assignments/<scheme>`, `routes/<router>`, `group_histograms/<scheme>` or
    `allocations/<profile set>`."""
    return f"data/{source}.parquet"


def assignments(scheme: str) -> str:
    """The group of every sample."""
    return f"data/assignments/{scheme}.parquet"


def group_histograms(scheme: str) -> str:
    """The merged score histograms of every group."""
    return f"data/group_histograms/{scheme}.parquet"


def allocations(profile: str) -> str:
    """The sparsity of every projection, for a profile set."""
    return f"data/allocations/{profile}.parquet"


def allocation_costs(profile: str) -> str:
    """The costs of those allocations."""
    return f"data/allocation_costs/{profile}.parquet"


def profiles(profile: str) -> str:
    """The thresholds of a profile set."""
    return f"data/profiles/{profile}.parquet"


def routes(router: str) -> str:
    """The predicted group of every sample."""
    return f"data/routes/{router}.parquet"


def held_out(router: str) -> str:
    """Predictions of the router fitted without a task or a template, on that one."""
    return f"data/routes/{router}.held_out.parquet"


def benefits(router: str) -> str:
    """The measured benefit of every group's profile, for a benefit router."""
    return f"data/routes/{router}.benefits.parquet"


def router_weights(router: str) -> str:
    """The fitted router."""
    return f"data/routes/{router}.safetensors"


def results(method: str) -> str:
    """The evaluation of a method."""
    return f"data/results/{method}.parquet"


def profile_set(method: str) -> str:
    """The folder of an exported profile set."""
    return f"data/profile_sets/{method}"
