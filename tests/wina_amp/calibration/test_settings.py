"""`wina_amp.calibration.settings`: `calibrate` does by default what the study does by default."""

from __future__ import annotations

from dataclasses import asdict

from pipeline.config.params import load
from tests.settings import PARAMS
from wina_amp.calibration.settings import CalibrationSettings


def test_the_defaults_are_those_of_the_study() -> None:
    settings = load(PARAMS)
    allocate = asdict(settings.allocate)
    assert asdict(CalibrationSettings()) == {
        "mantissa_bits": settings.capture.mantissa_bits,
        "signature_dim": settings.capture.signature_dim,
        "components": settings.cluster.components,
        "weight_decay": settings.route.weight_decay,
        "is_lazy": allocate.pop("greedy_search") == "lazy",
        "threshold_tokens": settings.thresholds.tokens,
        "batch": settings.tokens.batch,
        "seed": settings.seed,
        **allocate,
    }
