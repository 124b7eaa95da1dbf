"""The uniform allocation: every mask gets the same sparsity.

    s = target / fraction        fraction: the part of all projections' weights that the criterion's masks gate

A criterion that masks the input of every projection gates all weights, so s is the target itself. `cats` gates `up` and
`down` only: its masks must be sparser for the same model-wide sparsity, and a target above its part is out of reach.
"""

from __future__ import annotations


def uniform(target: float, fraction: float = 1.0) -> float:
    """The sparsity of every projection that is masked.

    Args:
        target: model-wide sparsity.
        fraction: see `wina_amp.models.mask_sites.maskable_fraction`.

    Guarantee: the mean sparsity over all weights, those that no mask gates included, is the target.

    Raises:
        ValueError: a target above the fraction.
    """
    if target > fraction:
        raise ValueError(f"targets must be at most {fraction:.4f}, got {target:g}")
    return target / fraction
