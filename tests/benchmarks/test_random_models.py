"""`benchmarks.random_models`: thresholds mask what they say."""

from __future__ import annotations

import pytest
import torch

from benchmarks.random_models import thresholds
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel


def test_thresholds_mask_the_fractions_of_the_tokens_they_were_taken_from(tiny_loaded: LoadedModel):
    ids = torch.randint(3, 64, (2, 60), generator=torch.Generator().manual_seed(1))
    counted = torch.arange(60).expand(2, -1) >= 20
    limits = thresholds(tiny_loaded, "wina", [0.0, 0.5], ids, counted)
    assert limits.shape == (2, 2, 7) and (limits[0] == 0).all()
    with (
        torch.inference_mode(),
        install(tiny_loaded, "wina", limits) as runtime,
        runtime.rows(torch.ones(2, dtype=torch.int64), counted) as counts,
    ):
        tiny_loaded.model(ids)
    # q reads what it was calibrated on; masks in front of the others change what they read.
    assert counts.kept[:, 0].sum().item() == pytest.approx(0.5 * 80 * 32, rel=1e-3)
