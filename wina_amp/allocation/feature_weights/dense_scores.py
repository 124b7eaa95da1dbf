"""Score histograms of the dense model on a few texts, under whatever weights the model's features have at the moment.

Those of all samples are made by stage capture once and for all. Learning changes the weights at every step, and with
them the thresholds; this counts again, on texts of the step, with capture's observer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from wina_amp.allocation.loss.answers import answer_batches
from wina_amp.capture.observe import Observer
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.samples import TokenizedSample


def score_counts(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    *,
    criterion: str,
    bins: Bins,
    dense_prefix: int | float,
    budget: int,
) -> dict[tuple[int, str], Int[ndarray, " count"]]:
    """(block, projection) -> histogram of the scores of all eligible tokens of the texts.

    Args:
        loaded: the dense model.
        texts: prompts with answers; the last token of an answer is not read.
        criterion: how features are scored.
        bins: of the histograms.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included.

    Guarantee: no hook is left on the model.

    Raises:
        UserError: a score that is NaN or infinite, naming block and projection.
    """
    histograms: dict[tuple[int, str], Int[ndarray, " count"]] = {}
    with Observer(loaded, [criterion], bins) as observer, torch.inference_mode():
        for _, answer in answer_batches(texts, budget, dense_prefix, loaded.device):
            counted = torch.where(answer.eligible, 0, -1).cpu()
            with observer.batch(counted, torch.full_like(counted, -1)):
                loaded.decoder(input_ids=answer.ids, use_cache=False)
            for observed in observer.take():
                for name, _, counts in observed.by_projection():
                    key = (observed.site.block, name)
                    histograms[key] = histograms.get(key, np.zeros(bins.count, np.int64)) + counts[0]
    return histograms
