"""Settings of a calibration that are seldom changed; their defaults are the study's (`params.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CalibrationSettings:
    """What `calibrate` does beyond its own arguments.

        calibrate(model, tokenizer, texts, settings=CalibrationSettings(greedy_step=0.025, is_lazy=False))

    Attributes:
        mantissa_bits: histogram bins per octave = 2^bits.
        signature_dim: numbers per block and site that samples are clustered by.
        components: principal components of these that are kept.
        weight_decay: of the router.
        greedy_step: sparsity given to q per round; other projections get the same number of weights.
        greedy_tokens: calibration tokens whose error is measured, shared by the groups.
        is_lazy: whether rounds try the likely steps only, not all of them as published.
        kl_steps: steps down the gradient for each target.
        kl_tokens: tokens of text that these read together; groups read a quarter.
        kl_rate: how far a sparsity's logit moves in a step, about.
        threshold_tokens: text of a group that its thresholds are calibrated on.
        batch: most tokens of a forward pass, padding included.
        seed: of clusters, projections and the order of samples.
    """

    mantissa_bits: int = 4
    signature_dim: int = 32
    components: int = 32
    weight_decay: float = 0.01
    greedy_step: float = 0.1
    greedy_tokens: int = 1024
    is_lazy: bool = True
    kl_steps: int = 160
    kl_tokens: int = 150_000
    kl_rate: float = 0.07
    threshold_tokens: int = 8_192
    batch: int = 1024
    seed: int = 0
