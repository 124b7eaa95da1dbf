"""Seconds of every kind of work: counts of tokens and passes, which algorithms declare, over measured rates.

    pass over N tokens    N * blocks * seconds of a token in a block + lm_head
    lm_head               operations / rate; or, for every batch, its weights / bandwidth, a few rows at a time
    decoding one token    blocks * seconds of a block's step, once for a whole batch; or its weights / bandwidth
    transform, a site     Gram matrix and eigendecomposition in float64, at half the rate
    greedy, one group     operations of the search (`wina_amp/allocation/greedy/operations.py`) / rate

A masked pass runs the same products as the dense one (masks define results here, they save no time), and masks besides.
Left out: tokenising and lm-eval's own work beyond `PER_SAMPLE`, loading from a slow disk, a GPU's warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compute.sizes import Sizes
from pipeline.estimate.rates import Rates
from pipeline.estimate.workload import Workload
from wina_amp.allocation.greedy.operations import operations
from wina_amp.allocation.loss.answers import POSITIONS

START = 8.0
"""Seconds until a stage with a model begins: imports (measured: 4 s for torch, 5 to 7 s for lm-eval)."""

LIGHT_START = 2.0
"""The same for a stage without one."""

CLUSTER, REPORT = (12.0, 0.005), (4.0, 0.001)
"""Seconds of these stages, and for every sample (measured with 96 and 3,360 samples)."""

PER_SAMPLE = 0.001
"""Seconds that lm-eval spends on one sample."""

CAPTURE = 1.35
"""Capture over the plain pass, measured on a CPU (docs/log.md)."""

MASKED, GRADIENT = 1.2, 2.5
"""A masked pass over the plain one, and a gradient, forward and backward, over a masked pass. Measured on a CPU with
the reference model (docs/performance.md)."""

FEW_ROWS = 2.5
"""A product of a few rows and a large matrix over that of one row: 2 to 4 for 3 to 16 rows and Gemma 270M's `lm_head`
on a CPU (docs/performance.md). A text has few positions whose logits are read."""

COMPILING = 40.0
"""Seconds to compile one dense step (measured on a CPU: 37 for the first, less for others)."""

BEGUN, STEPS_PER_TIMED = 5, 4
"""In one part of `latency`: how often a context is run, and steps that are run for one that is timed (the dense ones in
between, those in which kernels are timed, and copies of memory)."""

EIGEN = 22
"""Operations of an eigendecomposition with vectors, in units of d^3."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Cost:
    """Seconds of work by one process.

    Args:
        sizes: the model.
        workload: what goes through it.
        rates: the machine.
        batch: tokens per forward pass.
        bytes_per_number: of weights and activations.
        processes: that share the work (`pipeline/executors/processes.py`).
    """

    sizes: Sizes
    workload: Workload
    rates: Rates
    batch: int
    bytes_per_number: int
    processes: int = 1

    @property
    def train(self) -> int:
        """Number of train samples."""
        return int(self.workload.is_train.sum())

    @property
    def train_tokens(self) -> int:
        """Tokens of all train samples with their right answers, as they are read."""
        load = self.workload
        return int((load.prompts + load.right - 1)[load.is_train].sum())

    @property
    def mean_length(self) -> float:
        """Tokens of a train sample with its right answer, on average."""
        load = self.workload
        return float((load.prompts + load.right)[load.is_train].mean()) if self.train else 1.0

    def capture(self) -> float:
        """Seconds of capture: prompts of all samples, right answers of the train samples, no `lm_head`."""
        load = self.workload
        tokens = load.prompts + np.where(load.is_train, load.right - 1, 0)
        return CAPTURE * self._pass(tokens, np.zeros_like(tokens))

    def evaluation(self, splits: Sequence[str], limits: Mapping[str, int | None], *, is_masked: bool) -> float:
        """Seconds of one evaluation at one target of the first samples of each split (`Workload.among_first`)."""
        load = self.workload
        chosen = np.where(load.is_train, "train" in splits, "test" in splits) & load.among_first(limits)
        scored = np.where(load.is_generated, 0, load.answers)
        seconds = self._pass((load.prompts + scored) * chosen, (1 + scored) * chosen)
        seconds += self._decoding(chosen & load.is_generated)
        return seconds * (MASKED if is_masked else 1.0) + PER_SAMPLE * float(chosen.sum())

    def transform(self) -> float:
        """Seconds for the bases of all rotated inputs: of attention and of the MLP in every block."""
        width = self.sizes.hidden
        read = sum(linear.weights for linear in self.sizes.block if linear.site in ("qkv", "gate_up"))
        count = self.sizes.blocks * (2.0 * read * width + 2 * EIGEN * float(width) ** 3)
        return 2 * count / self.rates.flops

    def greedy(self, groups: int, *, stop: float, step: float, tokens: int, is_lazy: bool) -> float:
        """Seconds of greedy allocation for a number of groups, up to the target `stop`."""
        linears = [(linear.site, linear.weights) for linear in self.sizes.block]
        count = operations(linears, stop=stop, step=step, tokens=tokens, is_lazy=is_lazy)
        return groups * self.sizes.blocks * count / self.rates.flops

    def dense(self, texts: float) -> float:
        """Seconds of a dense pass over so many train samples with their right answers, to its final hidden states."""
        return self._blocks(self._tokens(texts))

    def calibration(self, tokens: float) -> float:
        """Seconds of the thresholds of one group at one target: a masked pass that counts scores."""
        return MASKED * CAPTURE * tokens * self.sizes.blocks * self.rates.token

    def loss(self, texts: float) -> float:
        """Seconds of one loss: a masked pass over so many train samples, compared with the dense predictions."""
        return MASKED * self.dense(texts) + self._heads(texts, 2)

    def gradient(self, texts: float) -> float:
        """Seconds of one gradient of the loss on so many train samples, which passes the logits once more."""
        return MASKED * GRADIENT * self.dense(texts) + self._heads(texts, 3)

    def timings(self, parts: int, *, batches: Sequence[int], contexts: Sequence[int], steps: int) -> float:
        """Seconds of the stage `latency`: every method at every target is a part, all batches and contexts in each.

        A step reads all weights once, on both sides (masked or not, this is the most); contexts run on both sides each
        time they are begun. Compiling the dense model comes on top, once for every batch and context.
        """
        sizes, rates = self.sizes, self.rates
        weights = sizes.parameters * self.bytes_per_number
        step = weights / rates.bandwidth + sizes.blocks * rates.step * MASKED
        cells = len(batches) * len(contexts)
        tokens = sum(batches) * sum(contexts)
        contexts_run = 2.0 * tokens * sizes.blocks * sizes.block_weights / rates.flops
        copied = 2 * weights / rates.bandwidth  # weights input-major, once a part
        return cells * COMPILING + parts * (BEGUN * contexts_run + cells * STEPS_PER_TIMED * steps * step + copied)

    def _heads(self, texts: float, times: int) -> float:
        """So many products with `lm_head` for each position of so many train samples whose logits are read."""
        read = np.minimum(self.workload.right[self.workload.is_train], POSITIONS)
        return self._head(self._tokens(texts), texts / max(self.train, 1) * float(read.sum()), times)

    def _tokens(self, texts: float) -> float:
        return texts / max(self.train, 1) * float(self.train_tokens)

    def _pass(self, tokens: Numbers, predicted: Numbers) -> float:
        return self._blocks(float(tokens.sum())) + self._head(float(tokens.sum()), float(predicted.sum()))

    def _blocks(self, tokens: float) -> float:
        return tokens * self.sizes.blocks * self.rates.token

    def _head(self, tokens: float, predicted: float, times: int = 1) -> float:
        """`lm_head` at so many positions of batches that hold so many tokens, so many times."""
        if not predicted:
            return 0.0
        numbers = self.sizes.hidden * self.sizes.vocabulary
        read = math.ceil(tokens / self.batch) * FEW_ROWS * numbers * self.bytes_per_number / self.rates.bandwidth
        return times * max(2.0 * predicted * numbers / self.rates.flops, read)

    def _decoding(self, chosen: NDArray[np.bool_]) -> float:
        """Batches decode until their longest answer ends; a step reads all weights once."""
        rows = self.workload.prompts[chosen] + self.workload.answers[chosen]
        if not len(rows):
            return 0.0
        batches = math.ceil(float(rows.sum()) / self.batch)
        steps = batches * float(self.workload.answers[chosen].max())
        sizes, rates = self.sizes, self.rates
        blocks = sizes.blocks * max(rates.step, len(rows) / batches * rates.token)
        return steps * max(blocks, sizes.parameters * self.bytes_per_number / rates.bandwidth)
