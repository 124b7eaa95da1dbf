"""`pipeline.routing.benefits`: divergences of the slow transcription, profile by profile and text by text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.routing.benefits import NEGLIGIBLE, benefits, text_divergences
from tests.reference.divergence import divergence
from tests.wina_amp.allocation.blocks import CONFIGS, random_model, texts
from wina_amp.models.projections import projections

OPTIONS = {"criterion": "wina", "dense_prefix": 1, "budget": 64}
ROUNDING = 1e-4
"""Relative: float32 logits of random models, batched and padded here, one text at a time in the transcription."""


def thresholds(loaded, profiles: int = 3) -> torch.Tensor:
    """Of profiles that mask more and more; the first masks nothing."""
    names = len(projections(loaded.model)) // 2
    drawn = torch.rand(1, 2, names, generator=torch.Generator().manual_seed(1)) + 0.5
    return torch.arange(profiles)[:, None, None] * drawn


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_text_diverges_under_every_profile_as_transcribed(kind: str):
    loaded = random_model(kind)
    limits = thresholds(loaded)
    divergences = text_divergences(loaded, texts(), limits, **OPTIONS)
    assert divergences.shape == (3, 12) and not divergences[0].any()  # thresholds of 0 mask nothing that counts
    for profile in (1, 2):
        flat = dict(
            zip([(p.block, p.name) for p in projections(loaded.model)], limits[profile].flatten().tolist(), strict=True)
        )
        for number, text in enumerate(texts()):
            slow = divergence(loaded, [text], flat, "wina", 1) * len(text.answer_ids)
            assert divergences[profile, number] == pytest.approx(slow, rel=ROUNDING)


def test_no_mask_is_left_and_progress_counts_texts():
    loaded = random_model("llama")
    done: list[int] = []
    text_divergences(loaded, texts(), thresholds(loaded), advance=done.append, **OPTIONS)
    assert sum(done) == 12 and len(done) > 1
    assert not any(p.module._forward_pre_hooks for p in projections(loaded.model))


def test_a_criterion_that_reads_the_gate_has_benefits_too():
    loaded = random_model("llama")
    limits = torch.tensor([[[0.0], [0.0]], [[0.3], [0.3]]])
    divergences = text_divergences(loaded, texts(), limits, criterion="cats", dense_prefix=1, budget=64)
    assert not divergences[0].any() and (divergences[1] > 0).all()


def test_a_benefit_is_the_mean_over_targets_of_the_log_ratio_to_the_last_profile():
    divergence = np.array([[[1.0, 0.0], [4.0, 2.0], [2.0, 0.0]], [[0.5, 3.0], [0.5, 0.0], [1.0, 3.0]]])
    by_text = benefits(divergence)
    ratio = lambda pooled, own: np.log((pooled + NEGLIGIBLE) / (own + NEGLIGIBLE))  # noqa: E731
    assert by_text.shape == (2, 2)
    assert by_text[0, 0] == pytest.approx((ratio(2, 1) + ratio(1, 0.5)) / 2)
    assert by_text[1].tolist() == pytest.approx([0, (ratio(0, 2) + ratio(3, 0)) / 2])
    assert benefits(divergence[:, [2, 2, 2]]).tolist() == [[0, 0], [0, 0]]
    assert benefits(divergence[0]).tolist() == benefits(divergence[:1]).tolist()
