"""From captured scores to masks on the calibration data itself: every target is met, by thresholds and by top-k.

Each mask is put on the activations it was calibrated on, those of the DENSE model. In a sparse run earlier masks change
what later ones read, and there a threshold's fraction may drift from its target (a top-k mask's cannot).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from pipeline.capture.capture import capture
from pipeline.histograms.aggregate import aggregate
from pipeline.profiles.profile import profile_array, profiles
from pipeline.profiles.uniform import uniform_rows
from tests.wina_amp.allocation.blocks import random_model
from wina_amp.histograms.bins import Bins
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.kinds import MASKS, mask_kind
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites, maskable_fraction
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import criterion_row, feature_weights
from wina_amp.tokens.samples import TokenizedSample

WITHOUT_PROMPTS = sorted({*MASKS} - {"prompt"})
"""Kinds of masks that take a pass without knowing where its prompts end."""

PERCENTAGE_POINTS = 0.005
"""Largest distance of a projection's masked fraction from its target: the requirement. Thresholds lie in a histogram
bin, 1/16 of an octave wide, which holds a few percent of the scores; interpolation leaves far less than that."""

BINS = Bins(4)
PREFIX = 1
TARGETS = (0.1, 0.25, 0.4)
CRITERIA = ("teal", "wina", "wina_released", "cats")


@pytest.fixture(scope="module", params=["llama", "phi3"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return random_model(request.param)


@pytest.fixture(scope="module")
def items() -> list[TokenizedSample]:
    rng = np.random.default_rng(0)
    return [TokenizedSample(f"t/train/{n}", rng.integers(3, 64, 20 + n).tolist(), [5, 6]) for n in range(24)]


@pytest.fixture(scope="module")
def histograms(loaded: LoadedModel, items: list[TokenizedSample]) -> pd.DataFrame:
    settings = {"mantissa_bits": 4, "signature_dim": 4, "dense_prefix": PREFIX, "seed": 0}
    batches = [items[:10], items[10:]]
    ids = [item.sample_id for item in items]
    captured = capture(loaded, batches, histograms_of=ids, criteria=CRITERIA, **settings)
    parts, groups = [part.histograms for part in captured], np.zeros(len(items), dtype=np.int64)
    merged: pa.Table = aggregate(parts, ids, groups, scheme="global", bins=BINS)
    return merged.to_pandas()


@pytest.mark.parametrize("kind", WITHOUT_PROMPTS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_mask_meets_its_sparsity_on_the_activations_it_was_calibrated_on(
    loaded: LoadedModel, items: list[TokenizedSample], histograms: pd.DataFrame, criterion: str, kind: str
):
    masks = mask_sites(loaded.model, criterion_row(criterion).reads)
    fraction = maskable_fraction(masks, projections(loaded.model))
    own = histograms[histograms["criterion"] == criterion]
    rows = profiles(uniform_rows(own, TARGETS, "own", fraction), own, criterion=criterion, bins=BINS)
    seen = _dense_activations(loaded, items, [site.tap for site in masks])
    for target in TARGETS:
        values = torch.from_numpy(profile_array(rows, target, mask_kind(kind).column)).reshape(1, -1)
        model_wide = 0.0
        for number, site in enumerate(masks):
            weights = feature_weights(criterion, site.projection.module.weight, site.projection.name)
            masker = mask_kind(kind).build(weights, values[:, number])
            kept = tokens = 0
            for x, counted in seen[number]:
                count = torch.zeros(1, dtype=torch.int64)
                masker(x, torch.zeros(1, dtype=torch.int64), counted, count, None)
                kept, tokens = kept + int(count), tokens + int(counted.sum())
            features = site.projection.in_features
            wanted = target / fraction
            if kind == "topk":
                assert kept == tokens * int(features * (1 - wanted) + 1e-9)
            else:
                assert 1 - kept / (tokens * features) == pytest.approx(wanted, abs=PERCENTAGE_POINTS)
            model_wide += site.gated * (features - kept / tokens)
        allowed = PERCENTAGE_POINTS if kind == "threshold" else max(1 / site.projection.in_features for site in masks)
        total = sum(each.gated_weights for each in projections(loaded.model))
        assert model_wide / total == pytest.approx(target, abs=allowed)


def _dense_activations(loaded, items, taps):
    """For every tap and sample what the dense model has there, and which tokens are eligible."""
    tapped = [[] for _ in taps]
    for item in items:
        prompt, total = torch.tensor([len(item.prompt_ids)]), torch.tensor([item.length])
        counted = eligible(prompt, total, item.length, PREFIX)
        handles = [
            tap.register(lambda x, list_=list_, counted=counted: list_.append((x, counted)))
            for tap, list_ in zip(taps, tapped, strict=True)
        ]
        with torch.inference_mode():
            loaded.decoder(input_ids=torch.tensor([item.ids]), use_cache=False)
        for handle in handles:
            handle.remove()
    return tapped
