"""Score histograms of the dense model on a few texts, under whatever weights the model's features have at the moment.

Those of all samples are made by stage capture once and for all. Learning changes the weights at every step, and with
them the thresholds; this counts again, on the texts of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Bool, Int
from numpy import ndarray
from torch import Tensor

from pipeline.accumulate import accumulate
from pipeline.allocation.answers import answer_batch
from pipeline.allocation.calibration import Text
from pipeline.batching import batches
from pipeline.histogram import Bins
from pipeline.models.load import LoadedModel
from pipeline.models.projections import projections
from pipeline.observe import not_finite
from pipeline.scoring import projection_weights


def score_counts(
    loaded: LoadedModel,
    texts: Sequence[Text],
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

    Guarantee: no hook is left on the model. Counts are those of stage capture, summed over the texts.

    Raises:
        UserError: a score that is NaN or infinite, naming block and projection.
    """
    found = projections(loaded.model)
    counters = [_Counter(projection_weights(criterion, one)[None], bins) for one in found]
    planned = batches([text.length - 1 for text in texts], [text.sample_id for text in texts], budget)
    with ExitStack() as hooks, torch.no_grad():
        for projection, counter in zip(found, counters, strict=True):
            hooks.callback(projection.module.register_forward_pre_hook(counter.hook()).remove)
        for batch in planned:
            answer = answer_batch([texts[number] for number in batch], dense_prefix, loaded.device)
            for counter in counters:
                counter.eligible = answer.eligible
            loaded.decoder(input_ids=answer.ids, use_cache=False)
    for projection, counter in zip(found, counters, strict=True):
        if bool(counter.broken.any()):
            raise not_finite(projection.block, projection.name)
    pairs = zip(found, counters, strict=True)
    return {(one.block, one.name): counter.counts[0, 0].cpu().numpy().astype("int64") for one, counter in pairs}


class _Counter:
    """The histogram of one projection, added to by every forward pass."""

    def __init__(self, weights: Tensor, bins: Bins) -> None:
        self.weights, self.bins = weights, bins
        self.counts = torch.zeros(1, 1, bins.count, dtype=torch.int32, device=weights.device)
        self.broken = torch.zeros(1, dtype=torch.int32, device=weights.device)
        self.eligible: Bool[Tensor, "batch width"] | None = None
        self._no_profile = torch.zeros(0, weights.shape[1], device=weights.device)

    def hook(self) -> Callable[[object, tuple[Tensor, ...]], None]:
        """Counts the first input of a module."""

        def pre_hook(_module: object, args: tuple[Tensor, ...]) -> None:
            x, eligible = args[0], self.eligible
            if eligible is None:
                return
            segment = eligible.to(x.device).reshape(-1).long() - 1
            accumulate(
                self.bins,
                x.detach().reshape(-1, x.shape[-1]),
                self.weights,
                segment,
                self.counts,
                self.broken,
                self._no_profile,
                torch.full_like(segment, -1),
            )

        return pre_hook
