"""Thresholds from the prompt itself: the mask of `wina_amp.masks.reference` with a threshold for every sequence.

    t = the floor(s n)-th smallest of the n scores of the prompt's eligible tokens at this site      s: the profile's
    sparsity x'_i = 0 if the token is eligible and score_i <= t, else x_i

A sequence needs no group, no router and no calibrated threshold, only sparsities (those of a pooled allocation): it is
the strongest control for profiles of groups, each being a group of its own. Scores are read where they are masked, site
after site in the prompt's own pass, so that prompts realise their sparsity exactly, and no pass is added; like top-k,
it sorts, which no FLOP counts. Continuations and decoded tokens are masked with their prompt's thresholds. A prompt
without eligible tokens has the threshold 0.

A prompt must be read in one pass, whole, before or with what follows it.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from wina_amp.scoring.criteria import scores

ROUNDING = 1e-6
"""Scores. Sparsities are float64 sums and quotients: 0.3 * 10 must be 3."""


class PromptMasker:
    """The mask of one projection."""

    def __init__(self, weights: Float32[Tensor, " in"], sparsity: Float[Tensor, " groups"]) -> None:
        self._weights, self._sparsity = weights, sparsity.tolist()
        self._thresholds: Float32[Tensor, " batch"] | None = None

    def __call__(
        self,
        x: Float[Tensor, "batch width in"],
        groups: Int[Tensor, " batch"],
        eligible: Bool[Tensor, "batch width"],
        kept: Int[Tensor, " batch"],
        out: Float[Tensor, "batch width in"] | None = None,
        prompts: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch width in"]:
        """The masked input; see `reference.mask`.

        Args:
            x, groups, eligible, kept: as there.
            out: not used.
            prompts: tokens of every row's prompt, which begin it; None where prompts were read in an earlier pass.

        Raises:
            RuntimeError: no prompts were read.
        """
        score = scores(x, self._weights)
        if prompts is not None:
            self._thresholds = self._read(score, groups.tolist(), eligible, prompts.tolist())
        if self._thresholds is None or len(self._thresholds) != len(x):
            raise RuntimeError("thresholds of prompts need the prompts' own pass first, with their lengths")
        dropped = (score <= self._thresholds[:, None, None]) & eligible[:, :, None]
        kept += eligible.sum(dim=1) * x.shape[-1] - dropped.sum(dim=(1, 2))
        return x.masked_fill(dropped, 0)

    def _read(
        self, score: Float32[Tensor, "batch width in"], groups: list[int], eligible: Tensor, prompts: list[int]
    ) -> Float32[Tensor, " batch"]:
        thresholds = score.new_zeros(len(score))
        for row, (group, length) in enumerate(zip(groups, prompts, strict=True)):
            own = score[row, :length][eligible[row, :length]].flatten()
            masked = math.floor(self._sparsity[group] * len(own) + ROUNDING)
            if masked:
                thresholds[row] = torch.kthvalue(own, masked).values
        return thresholds
