"""Benefit of every profile of a set for a text: how much less the answer changes than under the pooled profile.

    benefit(group) = log((KL(pooled) + e) / (KL(group) + e))        positive where the group's profile is the better one

KL is that of `wina_amp/allocation/loss/answers.py` under a profile's masks, in nats, summed over the positions that
predict the text's answer. The logarithm makes a ratio of it: halving a divergence counts the same for an easy text and
for a hard one, and one text that no profile can save does not outweigh all others. `e` ends that where both divergences
are too small to change a prediction.

Benefits of train samples lean towards the groups, because profiles were fitted on them; a benefit router is fitted on
those all the same, and the report shows the benefits of its choices for test samples.

Masks are those that evaluations run (`wina_amp/masks/install.py`), so any criterion can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from torch import Tensor

from wina_amp.allocation.loss.answers import AnswerBatch, answer_batches, hidden_states, kl_divergence
from wina_amp.masks.install import Runtime, install
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.samples import TokenizedSample

NEGLIGIBLE = 0.1
"""`e`, in nats."""


def text_divergences(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    thresholds: Float32[Tensor, "profiles blocks masks"],
    *,
    criterion: str,
    dense_prefix: int | float,
    budget: int,
    advance: Callable[[int], object] = lambda _texts: None,
) -> Float[ndarray, "profiles texts"]:
    """KL(dense || masked) of every text under every profile, in nats, summed over the positions of its answer.

    One dense forward pass, and one for every profile; of a batch only the hidden states at those positions are kept.

    Args:
        loaded: the dense model; masks are put on it for the time of the call.
        texts: prompts with their right answers; one without an answer diverges by 0.
        thresholds, criterion: see `wina_amp.masks.install.install`.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included.
        advance: called with the number of finished texts after each batch.
    """
    divergences = np.zeros((len(thresholds), len(texts)))
    with torch.inference_mode(), install(loaded, criterion, thresholds) as runtime:
        for numbers, answer in answer_batches(texts, budget, dense_prefix, loaded.device):
            dense = _states(loaded, runtime, answer, 0, torch.zeros_like(answer.eligible))
            for profile in range(len(thresholds)):
                masked = _states(loaded, runtime, answer, profile, answer.eligible)
                divergences[profile, numbers] = answer.by_text(kl_divergence(loaded, dense, masked)).cpu().numpy()
            advance(len(numbers))
    return divergences


def work(profiles: int) -> int:
    """Forward passes of `text_divergences` over every text."""
    return 1 + profiles


def benefits(divergence: Float[ndarray, "*targets profiles texts"]) -> Float[ndarray, "texts groups"]:
    """The benefit of every group, averaged over the targets; the last profile is the pooled one."""
    logs = np.log(divergence + NEGLIGIBLE)
    return (logs[..., -1:, :] - logs[..., :-1, :]).mean(axis=tuple(range(divergence.ndim - 2))).T


def _states(
    loaded: LoadedModel, runtime: Runtime, answer: AnswerBatch, profile: int, eligible: Bool[Tensor, "batch width"]
) -> Float[Tensor, "positions hidden"]:
    """Final hidden states at the positions under one profile; dense where no token is eligible."""
    groups = torch.full((len(answer.ids),), profile, device=loaded.device)
    with runtime.rows(groups, eligible):
        return hidden_states(loaded, answer)
