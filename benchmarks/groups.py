"""Stability of groupings, and the benefit of allocations per group on held-out texts.

    python -m benchmarks.groups --clusters 4 8 12                                  # seconds
    python -m benchmarks.groups --clusters 4 8 --labels task --benefit 0.75        # minutes a grouping

Reads what `dvc repro` left in `data/`. A grouping is a clustering of the signatures, the values of a label, random
groups of the sizes of a clustering, or a scheme that the run has assigned (`--schemes gradient`). Columns: silhouette;
stability (mean ARI of fits to halves of the train samples); NMI with the label `computation` on the train samples.

With `--benefit TARGET`, every group's allocation goes down the gradient from the pooled `kl` allocation of that target,
as in `wina_amp/allocation/shrinkage.py`, on three quarters of the group's train texts, and is not shrunk. `held out`
is its KL on the last quarter over that of the pooled allocation, summed over all groups, with a paired bootstrap
interval over texts; below 1 the groups are better. The pooled allocation has seen the held-out texts, so this leans
towards it. No test sample is looked at.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from pipeline.config import params
from pipeline.config.params import Settings
from pipeline.grouping.cluster_variants import regress_out
from pipeline.grouping.schemes import label_groups, shuffled_groups
from pipeline.grouping.signature_vectors import signature_vectors
from pipeline.statistics.agreement import normalized_mutual_information
from pipeline.storage.schemas import ALLOCATIONS, ASSIGNMENTS, GROUP_HISTOGRAMS, SAMPLES, SIGNATURES
from stages.allocate_kl import budget
from stages.inputs import paths
from stages.inputs.allocation import counts_of
from stages.inputs.model import load_model
from wina_amp.allocation.calibration.texts import seeded_order
from wina_amp.allocation.kl.plan import group_plan
from wina_amp.allocation.loss import descent
from wina_amp.allocation.loss.divergence import Divergence
from wina_amp.allocation.loss.gradients import LossGradients
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.allocation.shrinkage import FOLDS
from wina_amp.grouping.clustering import Options, cluster, features
from wina_amp.histograms.bins import Bins
from wina_amp.models.projections import projections
from wina_amp.tokens.samples import TokenizedSample, tokenized_samples

POOLED = "kl"
REPLICATES = 2000
SIGNATURES_OF = ("all", "no-length", "unit", "first", "last")


@dataclass(frozen=True)
class Grouping:
    """A group of every sample; NaN where a figure makes no sense."""

    name: str
    groups: Int[ndarray, " samples"]
    silhouette: float = float("nan")
    stability: float = float("nan")


def main() -> None:
    """Print a row for every grouping."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, nargs="*", default=[], help="numbers of clusters")
    parser.add_argument("--algorithms", nargs="+", default=["kmeans"], help="kmeans, gmm, hdbscan")
    parser.add_argument("--signatures", nargs="+", default=["all"], choices=SIGNATURES_OF)
    parser.add_argument("--labels", nargs="*", default=[], help="task, computation, template")
    parser.add_argument("--schemes", nargs="*", default=[], help="of data/assignments: gradient, activation, ...")
    parser.add_argument("--random", type=int, default=0, help="draws of random groups of each clustering's sizes")
    parser.add_argument("--benefit", type=float, help="target at which allocations are made and held out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = params.load()
    samples: Any = SAMPLES.read(paths.SAMPLES)
    train = (samples["split"] == "train").to_numpy()
    benefit = None if options.benefit is None else Benefit(settings, samples[train], options.benefit)
    print(f"{'grouping':28}{'groups':>8}{'silhouette':>12}{'stability':>11}{'NMI':>7}  held out")
    for grouping in groupings(settings, samples, options):
        own = grouping.groups[train]
        nmi = normalized_mutual_information(own, samples["computation"][train].to_numpy())
        line = f"{grouping.name:28}{len(set(own.tolist())):8}{grouping.silhouette:12.3f}{grouping.stability:11.3f}"
        line += f"{nmi:7.3f}  "
        print(line + ("" if benefit is None else benefit.of(own)), flush=True)


def groupings(settings: Settings, samples: Any, options: argparse.Namespace) -> Iterator[Grouping]:
    """The groupings that were asked for, in the order of the options."""
    train = (samples["split"] == "train").to_numpy()
    by_block = signature_vectors(SIGNATURES.parts(paths.SIGNATURES), samples["sample_id"].tolist())
    vectors, blocks = by_block.reshape(len(by_block), -1, by_block.shape[3]), by_block.shape[1]
    for kind in options.signatures:
        chosen_vectors = signatures(kind, vectors, blocks, samples["n_tokens"].to_numpy(np.float64), train)
        points = features(chosen_vectors, train, settings.cluster.components)
        for algorithm in options.algorithms:
            for count in options.clusters:
                chosen = Options(algorithm, count, settings.cluster.min_cluster_size, settings.seed)
                clusters = cluster(points, train, chosen)
                figures = {key: float(clusters.quality[key] or np.nan) for key in ("silhouette", "stability")}  # type: ignore[arg-type]
                yield Grouping(f"{algorithm} {count}, {kind}", clusters.groups, **figures)
                for draw in range(options.random):
                    groups = shuffled_groups(clusters.groups, train, settings.seed, draw)
                    yield Grouping(f"random {count}, draw {draw}", groups)
    for label in options.labels:
        yield Grouping(label, label_groups(samples[label].tolist(), train))
    for scheme in options.schemes:
        rows: Any = ASSIGNMENTS.read(paths.assignments(scheme)).set_index("sample_id")["group"]
        yield Grouping(scheme, rows.loc[samples["sample_id"]].to_numpy())


def signatures(
    kind: str,
    vectors: Float[ndarray, "samples sites dim"],
    blocks: int,
    tokens: Float[ndarray, " samples"],
    train: Bool[ndarray, " samples"],
) -> Float[ndarray, "samples sites dim"]:
    """As they are, without prompt length, at unit length per site, or of the first or last block only."""
    sites = vectors.shape[1] // blocks
    if kind == "no-length":
        return regress_out(vectors, np.log(tokens), train)
    if kind == "unit":
        return vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), np.finfo(np.float32).tiny)
    return {"all": vectors, "first": vectors[:, :sites], "last": vectors[:, -sites:]}[kind]


class Benefit:
    """Held-out KL of allocations per group, over that of the pooled allocation."""

    def __init__(self, settings: Settings, train: Any, target: float) -> None:
        self._allocate, self._seed, self._target = settings.allocate, settings.seed, target
        self._texts = tokenized_samples(train)
        bins = Bins(settings.capture.mantissa_bits)
        table: Any = GROUP_HISTOGRAMS.read(paths.group_histograms("global"))
        criterion = settings.profiles[POOLED].criterion
        counts = counts_of(table[table["criterion"] == criterion], bins)
        tokens = settings.tokens
        loaded = load_model(settings.model)
        self._inputs = LossInputs(loaded, [], counts, bins, criterion, tokens.dense_prefix, tokens.batch)
        self._keys = [(projection.block, projection.name) for projection in projections(loaded.model)]
        rows: Any = ALLOCATIONS.read(paths.allocations(POOLED))
        self._pooled: Any = rows[rows["target"] == target].set_index(["block", "projection"])["sparsity"]

    def of(self, groups: Int[ndarray, " texts"]) -> str:
        """Held-out KL over that of the pooled allocation, with its interval."""
        pooled, own = [], []
        for group in sorted(set(groups.tolist())):
            texts = seeded_order([self._texts[number] for number in np.flatnonzero(groups == group)], self._seed)
            first, second = self._losses(texts)
            pooled.append(first)
            own.append(second)
        both = np.stack([np.concatenate(own), np.concatenate(pooled)])
        draws = np.random.default_rng(self._seed).integers(both.shape[1], size=(REPLICATES, both.shape[1]))
        sums = both[:, draws].sum(axis=2)
        low, high = np.quantile(sums[0] / sums[1], [0.025, 0.975])
        return f"{both[0].sum() / both[1].sum():.3f} [{low:.3f}, {high:.3f}]"

    def _losses(self, texts: list[TokenizedSample]) -> tuple[ndarray, ndarray]:
        """KL of every held-out text of a group, under the pooled allocation and under its own."""
        held_out = Divergence(self._inputs.on(texts[::FOLDS]))
        kept = replace(self._inputs, texts=[text for number, text in enumerate(texts) if number % FOLDS])
        plan = group_plan(kept.mean_length, **budget(self._allocate))
        gradients = LossGradients(kept).on_minibatches(range(len(kept.texts)), plan.batch, self._seed)
        fraction = held_out.fractions
        first = self._pooled.loc[self._keys].to_numpy()
        state = descent.start(first)
        for following in descent.descend(state, fraction, self._target, gradients, steps=plan.steps, rate=plan.rate):
            state = following
        own = descent.result(state, fraction, self._target)
        return held_out.losses(first), held_out.losses(own)


if __name__ == "__main__":
    main()
