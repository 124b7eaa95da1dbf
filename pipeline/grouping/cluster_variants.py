"""Variants of a clustering: on the signatures of one block alone, and with prompt length regressed out.

They answer two questions about the learned groups. In which blocks is what the groups follow? Each block's signatures
are clustered alone (one block at a time, not the first b: a label that only early blocks carry must not look as if it
lasted). Is it only length? Log prompt length is regressed out first.

The report compares these groups with labels; clusterings are made here, so that a change of the report clusters
nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from wina_amp.errors import UserError
from wina_amp.grouping.clustering import Clustering, Options, cluster, features

ALL_BLOCKS = -1

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Variant:
    """A clustering and the signatures that it was made from.

    Attributes:
        kind: `block` or `length_removed`.
        block: the block whose signatures were clustered, or `ALL_BLOCKS`.
        clustering: its groups.
    """

    kind: str
    block: int
    clustering: Clustering

    @property
    def name(self) -> str:
        """The kind, with the number of the block where there is one."""
        return self.kind if self.block == ALL_BLOCKS else f"{self.kind} {self.block}"


def variants(
    signatures: Float[ndarray, "samples blocks sites dim"],
    tokens: Int[ndarray, " samples"],
    train: Bool[ndarray, " samples"],
    components: int,
    options: Options,
) -> list[Variant]:
    """Every block's clustering, then that of all blocks without length.

    Signatures in which the algorithm finds no cluster (HDBSCAN may) have no variant, which is logged.
    """
    made: list[Variant] = []
    for kind, block, chosen in _chosen(signatures, tokens, train):
        try:
            made.append(Variant(kind, block, cluster(features(chosen, train, components), train, options)))
        except UserError as error:
            log.warning("no clusters in the variant %s of block %d: %s", kind, block, error)
    return made


def regress_out(
    values: Float[ndarray, "samples ..."], covariate: Float[ndarray, " samples"], train: Bool[ndarray, " samples"]
) -> Float[ndarray, "samples ..."]:
    """Residuals of a linear regression on the covariate, `x - a - b z`, fitted on the train samples.

    Guarantee: over the train samples every number has mean 0 and covariance 0 with the covariate, within rounding. What
    depends on the covariate in another way stays. A covariate that does not vary removes the mean only.
    """
    centred = covariate - covariate[train].mean()
    flat = values.reshape(len(values), -1).astype(np.float64)
    flat -= flat[train].mean(axis=0)
    power = float((centred[train] ** 2).sum())
    gradient = centred[train] @ flat[train] / power if power > 0 else np.zeros(flat.shape[1])
    return (flat - centred[:, None] * gradient).reshape(values.shape)


def _chosen(
    signatures: Float[ndarray, "samples blocks sites dim"],
    tokens: Int[ndarray, " samples"],
    train: Bool[ndarray, " samples"],
) -> Iterator[tuple[str, int, Float[ndarray, "samples sites dim"]]]:
    for block in range(signatures.shape[1]):
        yield "block", block, signatures[:, block]
    flat = signatures.reshape(len(signatures), -1, signatures.shape[-1])
    yield "length_removed", ALL_BLOCKS, regress_out(flat, np.log(tokens.astype(np.float64)), train)
