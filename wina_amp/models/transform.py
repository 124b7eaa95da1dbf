"""WINA's tensor transform: a basis for the inputs of attention and MLP in which dropping a feature has an exact price.

With W the weights of k (attention) or gate (MLP), the norm in front folded in, and W = U S V^T,

    W x = (W V) (V^T x) = W' x'        the columns of W' = U S are orthogonal, so
    || W' (x' - masked x') ||^2 = sum over masked i of (|x'_i| * ||W'[:, i]||)^2

and WINA's score is the error itself (Chen et al., 2025, arXiv:2505.19427, section on the tensor transform). All maps
of a site read x', so all of them become W V; fused maps (qkv, gate_up) are masked as one and lead as one.

Two things differ from the released code, which rotates the residual stream itself:

- Only the INPUT of attention and MLP is rotated (`wina_amp/models/rotation.py`); the residual stream keeps its basis.
  The masked features are the same, because an RMS norm without weights commutes with rotations, and so is the price,
  two d x d products a block. But rounding does not pile up from block to block, tied embeddings and `lm_head` stay as
  they are, and families with norms behind attention and MLP (Gemma 3, OLMo 2), whose weights cannot be folded into a
  rotated stream, work.
- With grouped queries k has fewer rows than columns, and its null space gets no arbitrary basis but the right singular
  vectors of the site's other maps (q and v) within it. k's columns there are
  rounding noise and are set to exactly 0: their score is 0, so k always skips them, at no error (75% of k's inputs in
  Llama-3-8B: its realised sparsity is above any lower target).

Bases are computed and applied in float64, block by block on the block's own device: beside the model, memory holds
float64 copies of one site's weights. New weights are rounded once, to the dtype of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import Projection, Site, projections, sites
from wina_amp.models.rotation import MODULES, rotate_input

LEADING = ("k", "qkv", "gate", "gate_up")
"""The projections whose columns become orthogonal, one for each rotated site."""

ORTHOGONAL_WITHIN = 1e-10
"""Largest entry of V^T V - I that a float64 eigendecomposition may leave; measured: 1e-14 at d = 4096."""

SAME_NORMS = 1e-4
"""Largest difference, relative to the largest column norm, between a stored basis's norms and those of the weights it
is applied to. Float32 vectors of the same weights give 1e-6; a basis of other weights is off by order 1."""


@dataclass(frozen=True)
class Basis:
    """The basis of one site.

    Attributes:
        vectors: V, orthogonal; its columns are ordered by falling singular value of the leading map, then, in the null
            space of that, by those of the site's other maps. The entry of largest magnitude of each column is positive.
        values: norms of the columns of the leading map times V, its singular values; exactly 0 in its null space.
    """

    vectors: Float[Tensor, "in in"]
    values: Float[Tensor, " in"]


def basis(leading: Float64[Tensor, "out in"], rest: Sequence[Float64[Tensor, "_ in"]]) -> Basis:
    """The basis in which the columns of `leading` are orthogonal and, within its null space, those of `rest` stacked.

    V comes from the eigenvectors of the Gram matrices, W^T W = V S^2 V^T. A singular value below sqrt(d * eps) times
    the largest, 1e-6 for d = 4096, cannot be told from 0 there and counts as 0.

    Guarantee: V is orthogonal within `ORTHOGONAL_WITHIN`; the same input gives the same V on the same machine. Where
    singular values are equal within rounding, another machine or thread count may choose other vectors: bases are
    therefore computed once and stored.

    Raises:
        ArithmeticError: V is not orthogonal, because the input was not finite or the decomposition failed.
    """
    features = leading.shape[1]
    left = torch.eye(features, dtype=torch.float64, device=leading.device)
    columns: list[Tensor] = []
    values = torch.zeros(features, dtype=torch.float64, device=leading.device)
    for number, maps in enumerate(([leading], rest)):
        vectors, squares, rank = _right_vectors(maps, left)
        columns.append(left @ vectors[:, :rank])
        left = left @ vectors[:, rank:]
        if number == 0:
            values[:rank] = squares[:rank].sqrt()
    joined = torch.cat([*columns, left], dim=1)
    joined *= joined.gather(0, joined.abs().argmax(dim=0)[None, :]).sign()
    error = float((joined.T @ joined).fill_diagonal_(0).abs().max())
    lengths = float((joined.square().sum(dim=0) - 1).abs().max())
    worst = max(error, lengths)
    if not worst <= ORTHOGONAL_WITHIN:
        raise ArithmeticError(f"V^T V must be the identity within {ORTHOGONAL_WITHIN}, it is off by {worst}")
    return Basis(joined, values)


def block_bases(loaded: LoadedModel, block: int) -> dict[str, Basis]:
    """The bases of one block's rotated sites, by name of the site, of the model as it was loaded.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    bases: dict[str, Basis] = {}
    for site in _rotated_sites(loaded, block):
        scale = _scale(loaded, site)
        leading, rest = _split(site)
        weights = [_folded(projection, scale) for projection in (leading, *rest)]
        for projection, weight in zip((leading, *rest), weights, strict=True):
            _refuse_broken(projection, weight)
        bases[site.name] = basis(weights[0], weights[1:])
    return bases


def rotate_block(loaded: LoadedModel, block: int, bases: Mapping[str, Basis]) -> None:
    """Put a block into its bases, in place: W' = W diag(norm) V, the norm in front without weights, inputs V^T x.

    Args:
        loaded: the model; this block as it was loaded.
        block: number of the decoder layer.
        bases: from `block_bases` of the same model, in any dtype, on any device.

    Guarantee: the block computes what it did before, up to the rounding of its dtype. V multiplies activations in that
    dtype, too: in bfloat16 a model's error against float32 grows by 6 to 28% (docs/method.md has the figures).

    Raises:
        UserError: the bases belong to other weights; nothing of the site was changed then.
    """
    for site in _rotated_sites(loaded, block):
        given = bases[site.name]
        scale = _scale(loaded, site)
        leading, rest = _split(site)
        device = leading.module.weight.device
        vectors, values = given.vectors.to(device, torch.float64), given.values.to(device, torch.float64)
        with torch.no_grad():
            first = _folded(leading, scale) @ vectors
            _refuse_other_weights(leading, first, values)
            leading.module.weight.copy_(first.masked_fill_(values == 0, 0))
            for projection in rest:
                projection.module.weight.copy_(_folded(projection, scale) @ vectors)
            norm = _norm(loaded, site)
            if norm is not None:
                _weight(norm).fill_(1 - loaded.family.norm_offset)
        rotate_input(loaded.layers[block].get_submodule(MODULES[site.name]), vectors.to(leading.module.weight.dtype))


def _right_vectors(maps: Sequence[Tensor], left: Float64[Tensor, "in left"]) -> tuple[Tensor, Tensor, int]:
    """Right singular vectors of maps * left by falling value, the values' squares, how many are above rounding."""
    gram = torch.zeros(left.shape[1], left.shape[1], dtype=torch.float64, device=left.device)
    for weights in maps:
        inside = weights @ left
        gram += inside.T @ inside
    ascending, vectors = torch.linalg.eigh(gram)
    squares = ascending.flip(0)
    largest = float(squares[0]) if len(squares) else 0.0
    rounding = len(squares) * torch.finfo(torch.float64).eps * largest
    return vectors.flip(1), squares, int((squares > rounding).sum())


def _rotated_sites(loaded: LoadedModel, block: int) -> list[Site]:
    own = [projection for projection in projections(loaded.model) if projection.block == block]
    return [site for site in sites(own) if site.name in MODULES]


def _split(site: Site) -> tuple[Projection, list[Projection]]:
    [leading] = [projection for projection in site.projections if projection.name in LEADING]
    return leading, [projection for projection in site.projections if projection is not leading]


def _norm(loaded: LoadedModel, site: Site) -> nn.Module | None:
    name = {"qkv": loaded.family.attention_norm, "gate_up": loaded.family.mlp_norm}[site.name]
    return None if name is None else loaded.layers[site.block].get_submodule(name)


def _scale(loaded: LoadedModel, site: Site) -> Float64[Tensor, " in"] | None:
    """The factors of the norm in front; None if there is no norm."""
    norm = _norm(loaded, site)
    return None if norm is None else _weight(norm).detach().double() + loaded.family.norm_offset


def _weight(norm: nn.Module) -> Tensor:
    return cast(Tensor, norm.weight)


def _folded(projection: Projection, scale: Tensor | None) -> Float64[Tensor, "out in"]:
    weight = projection.module.weight.detach().double()
    return weight if scale is None else weight * scale.to(weight.device)


def _refuse_broken(projection: Projection, weight: Tensor) -> None:
    if not bool(weight.isfinite().all()):
        raise UserError(
            "Every weight must be finite to be transformed",
            found="NaN or infinity, in the weights or in the norm in front of them",
            where=f"block {projection.block}, projection {projection.name}",
            remedy="check the checkpoint, or set `model.dtype` to float32 or bfloat16 (float16 overflows)",
        )


def _refuse_other_weights(leading: Projection, rotated: Tensor, values: Tensor) -> None:
    difference = float((torch.linalg.vector_norm(rotated, dim=0) - values).abs().max())
    largest = float(values.max())
    if not difference <= SAME_NORMS * largest:
        raise UserError(
            "Rotations must be those of the model they are applied to",
            found=f"column norms that differ by up to {difference:.2g}, where the largest is {largest:.2g}",
            where=f"block {leading.block}, projection {leading.name}",
            remedy="the checkpoint changed since; run `dvc repro --force --single-item transform`, then `dvc repro`",
        )
