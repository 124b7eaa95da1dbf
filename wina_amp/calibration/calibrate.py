"""`calibrate`: a live model and a dataset -> a profile set, in memory.

    samples -> groups and router -> score histograms -> allocations -> thresholds

are the study's stages capture, cluster, route, aggregate, allocate and profile, without tables or files: the same
samples give the same thresholds. (With samples of more than 2^17 scores a histogram, `greedy` and `kl` see fractions of
scores that differ by 2^-16 at most: the study stores such counts in larger units.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import compress

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from wina_amp.allocation.calibration.texts import seeded_order
from wina_amp.allocation.kl import kl
from wina_amp.calibration.allocations import Calibration, Sparsities
from wina_amp.calibration.arguments import checked_model, checked_targets, checked_texts, refuse_names, refuse_numbers
from wina_amp.calibration.dataset import tokenized
from wina_amp.calibration.described import described
from wina_amp.calibration.observing import FACTS, clustered
from wina_amp.calibration.settings import CalibrationSettings
from wina_amp.capture.passes import group_counts
from wina_amp.names import GREEDY, KL, UNIFORM, WINA
from wina_amp.profile_set.description import Group
from wina_amp.profile_set.identity import sketch
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.routing.router import Router
from wina_amp.thresholds.as_run import thresholds_as_run
from wina_amp.tokens.samples import TokenizedSample, read_up_to

Bars = Callable[..., tqdm]
"""Progress on standard error, or none: `tqdm`, of the caller's choice shown or not."""


def calibrate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Iterable[object],
    *,
    criterion: str = WINA,
    allocation: str = GREEDY,
    sparsity: float | Sequence[float] = (0.4, 0.5, 0.65),
    samples: int = 128,
    length: int = 512,
    groups: int = 1,
    dense_prefix: int | float = 1,
    name: str = "calibrated",
    data: str = "the caller's dataset",
    progress: bool = True,
    settings: CalibrationSettings | None = None,
) -> ProfileSet:
    """Make a profile set of a model from texts, in memory.

        from wina_amp import calibrate, sparsify_

        profiles = calibrate(model, tokenizer, load_dataset("tatsu-lab/alpaca", split="train"), sparsity=0.5)
        profiles.save_pretrained("my-profile-set")
        with sparsify_(model, profiles, sparsity=0.5):
            model.generate(**tokenizer("The capital of", return_tensors="pt"))

    Args:
        model: a model of transformers in eval mode, on the device where it is to run. It is not changed.
        tokenizer: its tokenizer.
        dataset: a list, an iterator or a `datasets.Dataset` of texts, `{"text": ...}`, (prompt, answer) pairs,
            `{"prompt": ..., "completion": ...}`, lists of chat messages or `{"messages": ...}`. The first `samples` are
            taken: shuffle a dataset that is sorted.
        criterion: how features are scored: `wina`, `teal` or `wina_released`.
        allocation: `uniform` needs no search; `greedy` spreads sparsity within each block, by the error of its output;
            `kl` over the whole model, by what it does to predictions, and takes longest.
        sparsity: fractions of the projections' weights to skip, with a profile each.
        samples: most samples.
        length: most tokens of a sample.
        groups: above 1, prompts are clustered by their activations, every cluster gets its own profiles, and a router
            from prompts to clusters is fitted (needs the extra `calibrate`).
        dense_prefix: first tokens of a prompt that stay dense: a number, or below 1 a fraction of the prompt.
        name: of the profile set.
        data: what its card calls the dataset.
        progress: show progress on standard error.
        settings: everything else.

    Guarantee: the same arguments give the same set on one machine; the model is what it was, also after an error.

    Raises:
        UserError: a model that cannot be made sparse or is sparse already; an item of the dataset of another form; an
            argument out of range; scikit-learn is missing.
    """
    targets = checked_targets(sparsity)
    refuse_names(criterion, allocation)
    refuse_numbers(samples, length, dense_prefix)
    loaded = checked_model(model, name)
    most = min(length, loaded.context)
    texts = tokenized(dataset, tokenizer, samples=samples, length=most, dense_prefix=dense_prefix)
    checked_texts(texts, groups, loaded)
    calibration = Calibration(loaded, criterion, targets, dense_prefix, settings or CalibrationSettings())
    bars: Bars = partial(tqdm, disable=not progress)
    assigned, router = _groups(calibration, texts, groups, bars)
    members = [list(compress(texts, assigned == group)) for group in range(int(assigned.max()) + 1)]
    sparsities = _allocated(calibration, allocation, texts, members, bars)
    limits = [_thresholds(calibration, own, at, bars) for own, at in zip(members, sparsities, strict=True)]
    named = ["all samples"] if router is None else [f"group {group}" for group in range(len(members))]
    description = described(
        model,
        name=name,
        criterion=criterion,
        allocation=allocation,
        dense_prefix=dense_prefix,
        targets=targets,
        groups=[Group(group, len(own)) for group, own in zip(named, members, strict=True)],
        router=None if router is None else FACTS,
        data=data,
    )
    return ProfileSet(description, torch.from_numpy(np.stack(limits, axis=1)), sketch(model), router)


def _groups(
    calibration: Calibration, texts: Sequence[TokenizedSample], groups: int, bars: Bars
) -> tuple[Int[ndarray, " samples"], Router | None]:
    if groups == 1:
        return np.zeros(len(texts), dtype=np.int64), None
    with bars(desc="signatures", total=len(texts), unit="sample") as bar:
        return clustered(calibration, texts, groups, bar.update)


def _allocated(
    calibration: Calibration,
    allocation: str,
    texts: Sequence[TokenizedSample],
    members: Sequence[Sequence[TokenizedSample]],
    bars: Bars,
) -> list[Sparsities]:
    """The sparsities of every group. Groups of `greedy` and `kl` start from the pooled allocation."""
    targets, groups = len(calibration.targets), len(members)
    if allocation == UNIFORM:
        return [calibration.uniform()] * groups
    with bars(desc="histograms", total=len(texts), unit="sample") as bar:
        (counts,) = group_counts(
            calibration.loaded,
            texts,
            np.zeros(len(texts), dtype=np.int64),
            criterion=calibration.criterion,
            bins=calibration.bins,
            dense_prefix=calibration.dense_prefix,
            budget=calibration.settings.batch,
            advance=bar.update,
        )
    work = sum(kl.work(targets, calibration.settings.kl_steps)) if allocation == KL else calibration.blocks
    with bars(desc=allocation, total=work, unit="pass" if allocation == KL else "block") as bar:
        pooled = calibration.pooled(allocation, texts, counts, bar.update)
    if groups == 1:
        return [pooled]
    with bars(desc=f"{allocation} of groups", total=groups * targets, unit="target") as bar:
        return [calibration.of_group(allocation, own, counts, pooled, groups, bar.update) for own in members]


def _thresholds(
    calibration: Calibration, texts: Sequence[TokenizedSample], sparsities: Sparsities, bars: Bars
) -> Float32[ndarray, "targets blocks projections"]:
    """The thresholds that meet these sparsities on the texts of a group, as the model runs: masked."""
    settings = calibration.settings
    chosen = read_up_to(seeded_order(texts, settings.seed), settings.threshold_tokens)
    with bars(desc="thresholds", total=len(sparsities), unit="target") as bar:
        limits: list[ndarray] = []
        for sparsity in sparsities:
            by_block = sparsity.reshape(calibration.blocks, -1)
            limits.append(
                thresholds_as_run(
                    calibration.loaded,
                    chosen,
                    by_block,
                    criterion=calibration.criterion,
                    dense_prefix=calibration.dense_prefix,
                    budget=settings.batch,
                )
            )
            bar.update()
    return np.stack(limits)
