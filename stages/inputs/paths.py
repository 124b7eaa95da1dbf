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

# Templates, to be called with the name of a scheme, a profile set, a router or a method: `results("wina")`.

table = "data/{}.parquet".format
"""A table that a setting names: `assignments/<scheme>`, `routes/<router>`, `group_histograms/<scheme>` or
`allocations/<profile set>`."""
assignments = "data/assignments/{}.parquet".format
"""The group of every sample."""
group_histograms = "data/group_histograms/{}.parquet".format
"""The merged score histograms of every group."""
allocations = "data/allocations/{}.parquet".format
"""The sparsity of every projection, for a profile set."""
allocation_costs = "data/allocation_costs/{}.parquet".format
"""The costs of those allocations."""
profiles = "data/profiles/{}.parquet".format
"""The thresholds of a profile set."""
routes = "data/routes/{}.parquet".format
"""The predicted group of every sample."""
held_out = "data/routes/{}.held_out.parquet".format
"""Predictions of the router fitted without a task or a template, on that one."""
benefits = "data/routes/{}.benefits.parquet".format
"""The measured benefit of every group's profile, for a benefit router."""
router_weights = "data/routes/{}.safetensors".format
"""The fitted router."""
results = "data/results/{}.parquet".format
"""The evaluation of a method."""
profile_set = "data/profile_sets/{}".format
"""The folder of an exported profile set."""
