"""Thresholds of a model as it runs: masked, block after block and, in a block, site after site.

    t_m = Q_s(scores of mask m while all masks before it are on, each at its own t)        s: the sparsity of m

Quantiles of the DENSE model's scores miss the target: masks shrink what later sites read, so the deeper a block, the
more of it falls below (Gemma 3 270M at 65%: 0.64 in the first of 18 blocks, 0.78 in the last; docs/log.md). Here the
batches of the calibration text pass through the model side by side. At every site they all wait until the scores of all
their eligible tokens are counted; then the threshold is read off at the sparsity that the allocation gives, its mask
goes on, and they move on to the next site.

Two other ways were weighed. *A fixed point of whole counting passes* moves all thresholds at once, each by counts made
under the old ones before it: it is right one site further after every pass, and nothing says when to stop. *Running
every block once for every site*, on the hidden states that the masked blocks before it put out, gives these thresholds
for 2.7 times the time (reference model) and has to call layers with arguments of its own. Here it is ONE pass, the
model's own, through hooks: rotations, fused maps, sliding windows and extra norms need nothing.

A batch is a thread, because a pass cannot be left and taken up again otherwise; one of them runs at a time, so sums do
not depend on their order. Memory: what every batch holds in the middle of a block, a few times its hidden states,
whatever the depth.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from numpy import ndarray
from torch import Tensor

from wina_amp.capture.accumulate import Totals, accumulate
from wina_amp.capture.observe import not_finite
from wina_amp.histograms.bins import MOST_MANTISSA_BITS, Bins
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import replaced_activations
from wina_amp.masks.kinds import Masker, mask_kind
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import MaskSite, mask_sites
from wina_amp.names import THRESHOLD
from wina_amp.scoring.criteria import criterion_row, projection_weights
from wina_amp.tokens.batching import batches
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

BINS = Bins(MOST_MANTISSA_BITS)
"""Nothing is stored, so the finest there is. With the 4 bits of stored histograms an activated gate misses its sparsity
by 0.6 points: silu has a minimum, and the bin at its magnitude is full on one side."""


def thresholds_as_run(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    sparsity: Float[ndarray, "blocks masks"],
    *,
    criterion: str,
    dense_prefix: int | float,
    budget: int,
) -> Float32[ndarray, "blocks masks"]:
    """The thresholds that make every mask meet its sparsity on these texts, all masks being on.

    Args:
        loaded: the model, dense.
        texts: calibration text, at least one with an eligible token.
        sparsity: of every mask of every block, in [0, 1], in the order of `mask_sites`.
        criterion: how features are scored.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included.

    Guarantee: run again with these thresholds on these texts, in the same batches, every mask zeroes the fraction
    `sparsity` of its features, up to the scores of one of `BINS`; more where more of them are zero already, as `down`'s
    are behind a gate that is masked as a whole. No hook and no thread is left.

    Raises:
        UserError: a score that is NaN or infinite; unknown criterion.
        ValueError: no eligible token; sparsities of the wrong shape or out of range.
    """
    masks = mask_sites(loaded.model, criterion_row(criterion).reads)
    blocks = masks[-1].projection.block + 1
    if sparsity.shape != (blocks, len(masks) // blocks):
        raise ValueError(f"sparsity must be {(blocks, len(masks) // blocks)}, got {sparsity.shape}")
    planned = batches([text.length for text in texts], [text.sample_id for text in texts], budget)
    sweep = _Sweep(loaded, masks, sparsity.ravel(), criterion, len(planned))
    with replaced_activations((mask.tap, partial(sweep.at, number)) for number, mask in enumerate(masks)):
        sweep.run(_tensors([texts[number] for number in batch], dense_prefix) for batch in planned)
    return sweep.thresholds.reshape(sparsity.shape)


class _Sweep:
    """Batches on their way through the model, and the masks that stand behind them.

    Attributes:
        thresholds: of all masks; those that were reached.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        masks: Sequence[MaskSite],
        sparsity: Float[ndarray, " masks"],
        criterion: str,
        number: int,
    ) -> None:
        self._loaded, self._masks, self._sparsity, self._criterion = loaded, masks, sparsity, criterion
        self.thresholds = np.zeros(len(masks), dtype=np.float32)
        self._maskers: dict[int, Masker] = {}
        self._counting: _Counts | None = None
        self._turn = threading.Lock()
        self._all_counted = threading.Barrier(number, action=self._calibrate)
        self._has_begun = threading.Semaphore(0)
        self._of_thread = threading.local()
        self._error: BaseException | None = None

    def run(self, inputs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Pass all batches, ids and eligible tokens, through the model; raises what one of them raised first.

        They begin one after the other, as without threads: rotary embeddings of some models (`dynamic`) depend on the
        batches that came before.
        """
        futures: list[Future[None]] = []
        with ThreadPoolExecutor(self._all_counted.parties) as pool:
            try:
                for batch in inputs:
                    futures.append(pool.submit(self._pass, *batch))
                    self._has_begun.acquire()
                for future in futures:
                    future.result()
            finally:
                self._all_counted.abort()  # an interrupted program does not wait for the others
        if self._error is not None:
            raise self._error

    def at(self, number: int, x: Float[Tensor, "batch width in"]) -> Float[Tensor, "batch width in"]:
        """What mask `number` does to a batch; the first one that reads an activation waits for all batches."""
        counted = self._of_thread.eligible.to(x.device)
        if number not in self._maskers:
            self._counting = self._counting or self._counts_at(number)
            self._counting.add(x, counted)
            self._begun()
            self._turn.release()
            try:
                self._all_counted.wait()
            finally:
                self._turn.acquire()
        rows = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return self._maskers[number](x, rows, counted, torch.zeros_like(rows), None)

    def _pass(self, ids: Tensor, counted: Tensor) -> None:
        self._of_thread.eligible, self._of_thread.is_new = counted, True
        try:
            with self._turn, torch.inference_mode():
                self._loaded.decoder(input_ids=ids.to(self._loaded.device), use_cache=False)
        except threading.BrokenBarrierError:
            pass  # another batch has failed, or the program was interrupted
        except BaseException as error:
            self._error = error
            self._all_counted.abort()
        finally:
            self._begun()

    def _begun(self) -> None:
        """Let the next batch begin, once for every batch."""
        if self._of_thread.is_new:
            self._of_thread.is_new = False
            self._has_begun.release()

    def _counts_at(self, number: int) -> _Counts:
        """Nothing counted yet, for all masks that read the activation of mask `number`."""
        read = self._masks[number].projection
        same = [n for n, mask in enumerate(self._masks) if _activation(mask) == (read.block, read.site)]
        weights = [projection_weights(self._criterion, self._masks[n].projection) for n in same]
        return _Counts(same, weights)

    def _calibrate(self) -> None:
        """Called once all batches are counted: thresholds and masks of all that read the activation."""
        counting, self._counting = self._counting, None
        assert counting is not None
        first = self._masks[counting.numbers[0]].projection
        if counting.is_broken:
            raise not_finite(first.block, first.name)
        limits = thresholds(BINS, counting.counts(), self._sparsity[counting.numbers])
        self.thresholds[counting.numbers] = limits
        for number, weights, limit in zip(counting.numbers, counting.weights, limits, strict=True):
            self._maskers[number] = mask_kind(THRESHOLD).build(weights, torch.from_numpy(limit[None]))


class _Counts:
    """Score histograms of one activation, for all masks that read it; equal weights are counted once."""

    def __init__(self, numbers: list[int], weights: list[Float32[Tensor, " in"]]) -> None:
        self.numbers, self.weights = numbers, weights
        self.is_broken = False
        self._distinct, self._row = torch.stack(weights).unique(dim=0, return_inverse=True)
        self._counts = np.zeros((len(self._distinct), BINS.count), dtype=np.int64)

    def add(self, x: Float[Tensor, "batch width in"], counted: Bool[Tensor, "batch width"]) -> None:
        """Count the scores of the eligible tokens of a batch."""
        totals = Totals.zeros(BINS, self._distinct, samples=1, prompts=0)
        segment = counted.reshape(-1).long() - 1  # 0 where eligible, else -1
        accumulate(x.reshape(-1, x.shape[-1]), segment, torch.full_like(segment, -1), totals)
        self.is_broken |= bool(totals.broken.any())
        self._counts += totals.counts[0].cpu().numpy()

    def counts(self) -> Int[ndarray, "masks bins"]:
        """The histogram of every mask."""
        return self._counts[self._row.cpu().numpy()]


def _activation(mask: MaskSite) -> tuple[int, str]:
    return mask.projection.block, mask.projection.site


def _tensors(texts: Sequence[TokenizedSample], dense_prefix: int | float) -> tuple[Tensor, Tensor]:
    """Right-padded token ids, and the tokens that are masked."""
    prompts = torch.tensor([len(text.prompt_ids) for text in texts])
    ids, totals = right_padded([text.ids for text in texts])
    return ids, eligible(prompts, totals, ids.shape[1], dense_prefix)
