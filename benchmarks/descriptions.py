"""Descriptions of samples and clustering methods, compared by the held-out gain of the groups they give.

    python -m benchmarks.descriptions                     # minutes
    python -m benchmarks.descriptions --count 4 --only signatures quantiles

Reads what `dvc repro` left in `data/`; the default settings' scheme `gradient` must be among it. The held-out gain
(`pipeline/grouping/gradient_clusters.py`) is the first-order benefit of allocations per group; it
takes seconds where fitting the allocations (`benchmarks.groups`) takes minutes. Train samples only. A description is

    signatures     mean score of every feature, projected: what the stage `cluster` reads
    no length      those without what log prompt length explains
    first, last    those of the first or the last block
    quantiles      of every projection's score histogram, at 10 to 90%, in powers of two
    active         fraction of tokens in which a feature is kept at the pooled profile's threshold, by site

Columns: gain of k-means, of a Gaussian mixture and of HDBSCAN on the principal components, of k-means on a UMAP
embedding of them (10 dimensions), and of k-means on the allocation gradients that the components predict, which is the
scheme `gradient` (regression and clustering see the fitted texts of a fold only; the others see all points, but no
gradient).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sklearn.decomposition import PCA
from torch import Tensor, nn

from pipeline.config import params
from pipeline.config.params import Settings
from pipeline.grouping.cluster_variants import regress_out
from pipeline.grouping.gradient_clusters import allocation_gradients, gradient_groups, held_out_gain
from pipeline.grouping.signature_vectors import signature_vectors
from pipeline.histograms.aggregate import dense_counts
from pipeline.storage.parts import Parts
from pipeline.storage.schemas import HISTOGRAMS, PROFILES, SAMPLES, SIGNATURES
from stages.gradient_clusters import Worker
from stages.inputs import paths
from stages.inputs.model import load_model
from wina_amp.grouping.clustering import Options, cluster, features
from wina_amp.histograms.bins import Bins
from wina_amp.masks.eligibility import eligible
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections, sites
from wina_amp.scoring.criteria import projection_weights
from wina_amp.tokens.batching import batches
from wina_amp.tokens.samples import tokenized_samples

POOLED, CRITERION, TARGET = "kl", "wina", 0.75
FRACTIONS = np.linspace(0.1, 0.9, 9)
SMALLEST = 1e-9
"""Below which scores count as this."""
_ROWS = 4096
"""Histograms that are unfolded at a time."""
UMAP_DIMENSIONS, NEIGHBOURS = 10, 15
DESCRIPTIONS = ("signatures", "no length", "first", "last", "quantiles", "active")


def main() -> None:
    """Print a row for every description."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=8, help="number of groups, where it is given")
    parser.add_argument("--only", nargs="+", default=list(DESCRIPTIONS), choices=DESCRIPTIONS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = params.load()
    samples: Any = SAMPLES.read(paths.SAMPLES)
    train = samples[samples["split"] == "train"].reset_index(drop=True)
    loaded = load_model(settings.model)
    wished = text_wishes(settings, train)
    everyone = np.ones(len(train), dtype=np.bool_)
    print(f"{'description':14}{'k-means':>16}{'mixture':>16}{'hdbscan':>21}{'umap, k-means':>16}{'gradients':>18}")
    for name in options.only:
        points = components(described(name, settings, train, loaded), settings.cluster.components)
        cells = [_gain(groups, wished, settings.seed) for groups in plain(points, everyone, settings, options.count)]
        chosen = gradient_groups(points, everyone, wished, (options.count,), settings.seed).chosen
        cells.append(f"{chosen.mean:.3f} +- {chosen.error:.3f}")
        print(f"{name:14}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def text_wishes(settings: Settings, train: Any) -> Float[ndarray, "texts directions"]:
    """Of all train samples, as stage gradient_clusters has them."""
    worker = Worker(settings, POOLED, Parts(Path("data")))  # nothing is kept
    texts = tokenized_samples(train)
    targets = settings.gradient.targets
    return allocation_gradients(
        [worker.gradients(texts, target) for target in targets],
        [worker.allocation(target) for target in targets],
        worker.fraction(),
    )


def described(name: str, settings: Settings, train: Any, loaded: LoadedModel) -> Float[ndarray, "texts parts numbers"]:
    """A description of every train sample: parts (sites, projections) with as many numbers each, or one part."""
    if name == "quantiles":
        return quantiles(train["sample_id"].tolist(), Bins(settings.capture.mantissa_bits))
    if name == "active":
        return active(settings, train["prompt_ids"].tolist(), loaded)[:, None]
    by_block = signature_vectors(SIGNATURES.parts(paths.SIGNATURES), train["sample_id"].tolist())
    vectors, own = by_block.reshape(len(by_block), -1, by_block.shape[3]), by_block.shape[2]
    if name == "no length":
        return regress_out(vectors, np.log(train["n_tokens"].to_numpy(np.float64)), np.ones(len(train), dtype=np.bool_))
    return {"signatures": vectors, "first": vectors[:, :own], "last": vectors[:, -own:]}[name]


def quantiles(sample_ids: list[str], bins: Bins) -> Float[ndarray, "texts projections fractions"]:
    """log2 of the scores that a fraction of each projection's scores does not exceed."""
    rows: Any = HISTOGRAMS.read_parts(paths.HISTOGRAMS)
    rows = rows[rows["criterion"] == CRITERION].sort_values(["sample_id", "block", "projections"])
    starts = range(0, len(rows), _ROWS)
    each = [_log_quantiles(dense_counts(rows[start : start + _ROWS], bins), bins) for start in starts]
    shaped = np.concatenate(each).reshape(len(sample_ids), -1, len(FRACTIONS))
    order = {name: row for row, name in enumerate(dict.fromkeys(rows["sample_id"]))}
    return shaped[[order[name] for name in sample_ids]]


def _log_quantiles(counts: Int[ndarray, "rows bins"], bins: Bins) -> Float[ndarray, "rows fractions"]:
    each = [bins.quantile(counts, np.full(len(counts), fraction)) for fraction in FRACTIONS]
    return np.log2(np.maximum(np.stack(each, axis=1), SMALLEST))


def active(settings: Settings, prompts: list[Any], loaded: LoadedModel) -> Float[ndarray, "texts features"]:
    """Share of a prompt's tokens in which each feature of each site is kept by the pooled profile; sites read the first
    of their projections."""
    table: Any = PROFILES.read(paths.profiles(POOLED))
    limits = table[table["target"] == TARGET].set_index(["block", "projection"])["threshold"]
    kept_fractions: list[Tensor] = []
    state: dict[str, Tensor] = {}

    def watch(weights: Tensor, limit: float) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            kept = (args[0].float().abs() * weights > limit) & state["counted"][:, :, None]
            kept_fractions.append(kept.sum(dim=1) / state["counted"].sum(dim=1, keepdim=True).clamp_min(1))

        return hook

    rows = np.zeros((len(prompts), 0))
    with ExitStack() as undo, torch.inference_mode():
        for site in sites(projections(loaded.model)):
            first = site.projections[0]
            weights = projection_weights(settings.profiles[POOLED].criterion, first)
            hook = watch(weights, float(limits.loc[(first.block, first.name)]))
            undo.callback(first.module.register_forward_pre_hook(hook).remove)
        names = [f"{number:06d}" for number in range(len(prompts))]
        for batch in batches([len(prompt) for prompt in prompts], names, settings.tokens.batch):
            lengths = torch.tensor([len(prompts[number]) for number in batch])
            ids = torch.zeros(len(batch), int(lengths.max()), dtype=torch.int64)
            for row, number in enumerate(batch):
                ids[row, : lengths[row]] = torch.from_numpy(np.asarray(prompts[number]).astype(np.int64))
            state["counted"] = eligible(lengths, lengths, ids.shape[1], settings.tokens.dense_prefix)
            kept_fractions.clear()
            loaded.decoder(input_ids=ids, use_cache=False)
            values = torch.cat(kept_fractions, dim=1).numpy()
            rows = np.zeros((len(prompts), values.shape[1])) if not rows.size else rows
            rows[batch] = values
    return rows


def components(description: Float[ndarray, "texts parts numbers"], number: int) -> Float[ndarray, "texts components"]:
    """Principal components; parts are scaled to the same spread, as the stage `cluster` does with sites."""
    if description.shape[1] > 1:
        return features(description, np.ones(len(description), dtype=np.bool_), number)
    flat = description[:, 0] - description[:, 0].mean(axis=0)
    return cast(Any, PCA)(number, svd_solver="full").fit_transform(flat)


def plain(
    points: Float[ndarray, "texts components"], everyone: Bool[ndarray, " texts"], settings: Settings, count: int
) -> Iterator[Int[ndarray, " texts"]]:
    """Groups that no gradient was looked at for: k-means, mixture, HDBSCAN, k-means on a UMAP embedding."""
    for algorithm in ("kmeans", "gmm", "hdbscan"):
        chosen = Options(algorithm, count, settings.cluster.min_cluster_size, settings.seed)
        yield cluster(points, everyone, chosen).groups
    from umap import UMAP  # compiles for half a minute

    embedded = UMAP(NEIGHBOURS, n_components=UMAP_DIMENSIONS, random_state=settings.seed).fit_transform(points)
    chosen = Options("kmeans", count, settings.cluster.min_cluster_size, settings.seed)
    yield cluster(np.asarray(embedded, dtype=np.float64), everyone, chosen).groups


def _gain(groups: Int[ndarray, " texts"], wished: Float[ndarray, "texts directions"], seed: int) -> str:
    mean, error = held_out_gain(groups, wished, seed)
    return f"{mean:.3f} +- {error:.3f}"


if __name__ == "__main__":
    main()
