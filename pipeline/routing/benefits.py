"""What every profile of a set would do to a text, and what choosing it in place of the pooled profile brings.

    benefit(group) = log((KL(pooled) + e) / (KL(group) + e))        positive where the group's profile is the better one

KL is that of `pipeline/allocation/loss/answers.py` under a profile's masks, in nats, summed over the places that
predict the text's answer. The logarithm makes a ratio of it: halving a divergence counts the same for an easy text and
for a hard one, and one text that no profile can save does not outweigh all others. `e` ends that where both divergences
are too small to change a prediction.

Benefits of train samples lean towards the groups, because profiles were fitted on them; a benefit router is fitted on
those all the same, and the report shows what its choices bring to test samples.

Masks are those that evaluations run (`wina_amp/masks/install.py`), so any criterion will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from torch import Tensor

from pipeline.allocation.loss.answers import AnswerBatch, answer_batch, divergences
from pipeline.tokens.batching import batches
from pipeline.tokens.samples import TokenizedSample
from wina_amp.masks.install import Runtime, install
from wina_amp.models.load import LoadedModel

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
    """KL(dense || masked) of every text under every profile, in nats, summed over the places that predict its answer.

    One dense forward pass, and one for every profile; what is kept of a batch is its hidden states at those places.

    Args:
        loaded: the dense model; masks are put on it for the time of the call.
        texts: prompts with their right answers; one without an answer diverges by 0.
        thresholds: see `sparse.install.install`.
        criterion: how features are scored.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included.
        advance: called with the number of finished texts after each batch.
    """
    found = torch.zeros(len(thresholds), len(texts), dtype=torch.float64, device=loaded.device)
    lengths, ids = [text.length - 1 for text in texts], [text.sample_id for text in texts]
    head = cast(Callable[[Tensor], Tensor], loaded.model.get_output_embeddings())
    with torch.inference_mode(), install(loaded, criterion, thresholds) as runtime:
        for numbers in batches(lengths, ids, budget):
            answer = answer_batch([texts[number] for number in numbers], dense_prefix, loaded.device)
            place = torch.tensor(numbers, device=loaded.device)[answer.owners]
            dense = _states(loaded, runtime, answer, 0, torch.zeros_like(answer.eligible))
            for profile in range(len(thresholds)):
                masked = _states(loaded, runtime, answer, profile, answer.eligible)
                one = divergences(head, dense, masked)
                found[profile].index_add_(0, place, one.to(loaded.device).double())
            advance(len(numbers))
    return found.cpu().numpy()


def benefits(divergence: Float[ndarray, "*targets profiles texts"]) -> Float[ndarray, "texts groups"]:
    """The benefit of every group, averaged over the targets; the last profile is the pooled one."""
    logs = np.log(divergence + NEGLIGIBLE)
    return (logs[..., -1:, :] - logs[..., :-1, :]).mean(axis=tuple(range(divergence.ndim - 2))).T


def _states(
    loaded: LoadedModel, runtime: Runtime, answer: AnswerBatch, profile: int, eligible: Bool[Tensor, "batch width"]
) -> Float[Tensor, "places hidden"]:
    """Final hidden states at the places under one profile; dense where no token is eligible."""
    groups = torch.full((len(answer.ids),), profile, device=loaded.device)
    with runtime.rows(groups, eligible):
        hidden = cast(Tensor, loaded.decoder(input_ids=answer.ids, use_cache=False).last_hidden_state)
    return hidden.to(loaded.device)[answer.places]
