"""How an input feature is scored: score_i = |x_i| * w_i, with w given by the criterion.

- `teal` (TEAL, Liu et al. 2024): w_i = 1.
- `wina` (WINA, Chen et al. 2025): w_i = ||W[:, i]||_2, the norm of the column of W that the feature multiplies, for
  EVERY projection, as the paper says.
- `wina_released`: what the paper's released code does (microsoft/wina, commit 8153dbf): that norm for k and gate
  (fused: qkv and gate_up), and w_i = 1 for all others, which are therefore scored as under `teal`.

- `learned`: w_i is what the loss of the whole model asks for, found by descent from the norms of `wina`
  (`wina_amp/allocation/feature_weights/learning.py`). No formula of the matrix: the numbers lie on the model
  (`wina_amp/scoring/learned_weights.py`).

- `cats` (CATS, Lee et al. 2024, arXiv:2404.08763): w_i = 1, and x is the activated gate act(gate(x)) of the MLP, whose
  zeros save rows of `up` and columns of `down` (`wina_amp/models/mask_sites.py`).

Every criterion is one row of `CRITERIA`; `wina_amp/names.py` lists their names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from wina_amp.errors import unknown
from wina_amp.models.families import ACTIVATED_GATE, INPUT
from wina_amp.models.projections import Projection, Site
from wina_amp.names import CATS, LEARNED, TEAL, WINA, WINA_RELEASED
from wina_amp.scoring.learned_weights import learned

RELEASED_NORMS = ("k", "gate", "qkv", "gate_up")
"""The projections whose column norms the released code of WINA uses."""

_NUMBERS_AT_ONCE = 1 << 18  # of a weight matrix, in float32: half of a core's 2 MB cache

FeatureWeights = Callable[[Float[Tensor, "out in"], str], Float32[Tensor, " in"]]


@dataclass(frozen=True)
class Criterion:
    """One row of `CRITERIA`.

    Attributes:
        weights: w of every feature, from the matrix that the features are inputs of and its canonical name; None where
            they are learned.
        reads: which activation is scored: `INPUT` of every projection, or the `ACTIVATED_GATE` of every MLP.
    """

    weights: FeatureWeights | None
    reads: str = INPUT


def criterion_row(criterion: str) -> Criterion:
    """The row of `CRITERIA`.

    Raises:
        UserError: unknown criterion; the known ones are listed.
    """
    if criterion not in CRITERIA:
        raise unknown("criterion", criterion, CRITERIA, "params.yaml")
    return CRITERIA[criterion]


def projection_weights(criterion: str, projection: Projection) -> Float32[Tensor, " in"]:
    """The factor of every input feature of a projection of a loaded model, float32, on the device of its matrix.

    Raises:
        UserError: unknown criterion; `learned`, and the model has no learned weights.
    """
    if criterion_row(criterion).weights is None:
        return learned(projection)
    return feature_weights(criterion, projection.module.weight, projection.name)


def feature_weights(criterion: str, weight: Float[Tensor, "out in"], projection: str = "") -> Float32[Tensor, " in"]:
    """The factor of every input feature by a criterion's formula, in float32 on the device of `weight`.

    Args:
        criterion: a name in `CRITERIA` that has a formula.
        weight: the projection's matrix, any floating dtype; norms are computed in float32.
        projection: canonical name of the projection, for criteria that treat projections differently.

    Raises:
        UserError: unknown criterion; the known ones are listed.
        ValueError: a criterion without a formula.
    """
    formula = criterion_row(criterion).weights
    if formula is None:
        raise ValueError(f"`{criterion}` has no formula; `projection_weights` finds its weights on the model")
    return formula(weight, projection)


def scores(x: Float[Tensor, "*tokens in"], weights: Float32[Tensor, " in"]) -> Float32[Tensor, "*tokens in"]:
    """|x| * weights in float32, one rounding; comparisons with thresholds happen in this dtype, never in x's own."""
    return x.float().abs() * weights


def column_norms(weight: Float[Tensor, "out in"]) -> Float32[Tensor, " in"]:
    """||W[:, i]||_2 for every input feature i, computed in float32 whatever the dtype of the weights.

    Squares are added up over blocks of rows that fit the cache, without a float32 copy of the matrix. For 4096 x 14336
    in bfloat16, one thread of an Intel Xeon, that takes 0.06 s, `torch.linalg.vector_norm` 0.75 s; the relative error
    is at most 4e-7 there, that of `vector_norm` 4e-6.
    """
    total = weight.new_zeros(weight.shape[1], dtype=torch.float32)
    for rows in weight.detach().split(max(1, _NUMBERS_AT_ONCE // weight.shape[1])):
        total += rows.float().square().sum(dim=0)
    return total.sqrt()


def influence(site: Site) -> Float32[Tensor, " in"]:
    """sqrt(sum over the site's projections of ||W[:, i]||^2) for every feature i (`wina_amp/scoring/signature.py`)."""
    return torch.stack([column_norms(p.module.weight).square() for p in site.projections]).sum(dim=0).sqrt()


def _teal(weight: Float[Tensor, "out in"], projection: str) -> Float32[Tensor, " in"]:
    return torch.ones(weight.shape[1], dtype=torch.float32, device=weight.device)


def _wina(weight: Float[Tensor, "out in"], projection: str) -> Float32[Tensor, " in"]:
    return column_norms(weight)


def _wina_released(weight: Float[Tensor, "out in"], projection: str) -> Float32[Tensor, " in"]:
    return (_wina if projection in RELEASED_NORMS else _teal)(weight, projection)


CRITERIA: dict[str, Criterion] = {
    TEAL: Criterion(_teal),
    WINA: Criterion(_wina),
    WINA_RELEASED: Criterion(_wina_released),
    LEARNED: Criterion(None),
    CATS: Criterion(_teal, reads=ACTIVATED_GATE),
}
