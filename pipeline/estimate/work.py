"""How long every stage takes: operations from shapes (`pipeline/compute/operations.py`), over measured rates.

    pass over N tokens    operations / rate + bytes of activations / bandwidth + batches * blocks * small ops * dispatch
    decoding one token    weights / bandwidth + blocks * small operations * dispatch, once for a whole batch
    transform, a site     Gram matrix and eigendecomposition in float64, at half the rate
    greedy, one round     every projection's next step: what the search really recomputes (`allocation/block.py`)

A masked pass runs the same products as the dense one (masks define results here, they save no time), and masks besides.
Left out: tokenising and lm-eval's own work beyond `PER_SAMPLE`, loading from a slow disk, a GPU's warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.compute.operations import Work, dense_flops
from pipeline.compute.sizes import Sizes
from pipeline.estimate.rates import Rates
from pipeline.estimate.workload import Workload

START = 8.0
"""Seconds until a stage with a model begins: imports (measured: 4 s for torch, 5 to 7 s for lm-eval)."""

LIGHT_START = 2.0
"""The same for a stage without one."""

CLUSTER, REPORT = 30.0, 15.0
"""Seconds of these stages on the embedded data; both grow slowly with the number of samples."""

PER_SAMPLE = 0.001
"""Seconds that lm-eval spends on one sample."""

CAPTURE = 1.35
"""Capture over the plain pass, measured on a CPU (README)."""

SLOPES = 4
"""A step of `kl`, forward and backward, over a masked forward pass (measured on a CPU, reference model)."""

SMALL_OPERATIONS, MASKING_OPERATIONS = 50, 60
"""Kernels of one block besides its products, and those that masks add."""

TRAVERSALS, MASKING_TRAVERSALS = 4, 3
"""How often activations are read or written besides the products, in multiples of the projections' inputs."""

MEASURED_SHARE = 4
"""Greedy measures errors on a quarter of the tokens (`allocation/calibration.py`), and attention reads all of them."""

COMPILING = 40.0
"""Seconds to compile one dense step (measured on a CPU: 37 for the first, less for others)."""

BEGUN, STEPS_PER_TIMED = 5, 4
"""In one part of `latency`: how often a context is run, and steps that are run for one that is timed (the dense ones in
between, those in which kernels are timed, and copies of memory)."""

EIGEN = 22
"""Operations of an eigendecomposition with vectors, in units of d^3."""


@dataclass(frozen=True)
class Cost:
    """Seconds per forward pass over the workload, and how they come about.

    Args:
        sizes: the model.
        workload: what goes through it.
        rates: the machine.
        batch: tokens per forward pass.
        bytes_per_number: of weights and activations.
        processes: that share the work of evaluations and of `kl` (`pipeline/executors/processes.py`).
    """

    sizes: Sizes
    workload: Workload
    rates: Rates
    batch: int
    bytes_per_number: int
    processes: int = 1

    def capture(self) -> float:
        """Seconds of capture: prompts of all samples, answers of the train samples, no `lm_head`."""
        load = self.workload
        tokens = load.prompts + np.where(load.is_train, load.answers, 0)
        return CAPTURE * self._pass(tokens, np.zeros_like(tokens), is_masked=False)

    def evaluation(self, splits: Sequence[str], limits: Mapping[str, int | None], *, is_masked: bool) -> float:
        """Seconds of one evaluation at one target, by one process, of the first samples of each split
        (`Workload.among_first`)."""
        load = self.workload
        chosen = np.where(load.is_train, "train" in splits, "test" in splits) & load.among_first(limits)
        scored = np.where(load.is_generated, 0, load.answers)
        tokens = (load.prompts + scored) * chosen
        seconds = self._pass(tokens, (1 + scored) * chosen, is_masked=is_masked)
        return seconds + self._decoding(chosen & load.is_generated, is_masked) + PER_SAMPLE * float(chosen.sum())

    def transform(self) -> float:
        """Seconds for the bases of all rotated inputs: of attention and of the MLP in every block."""
        width = self.sizes.hidden
        read = sum(one.weights for one in self.sizes.block if one.site in ("qkv", "gate_up"))
        operations = self.sizes.blocks * (2.0 * read * width + 2 * EIGEN * float(width) ** 3)
        return 2 * operations / self.rates.flops

    def greedy(self, groups: int, *, stop: float, step: float, tokens: int) -> float:
        """Seconds of greedy allocation for a number of groups, up to the target `stop`."""
        operations = groups * self.sizes.blocks * greedy_operations(self.sizes, stop=stop, step=step, tokens=tokens)
        return operations / self.rates.flops

    def loss(self, samples: int) -> float:
        """Seconds of one loss of `kl`: a masked pass over so many train samples, from the middle block on average."""
        load = self.workload
        tokens = (load.prompts + load.answers)[load.is_train]
        fraction = min(1.0, samples / max(len(tokens), 1)) / 2
        return fraction * self._pass(tokens, load.answers[load.is_train], is_masked=True)

    def gradients(self, samples: int) -> float:
        """Seconds of one step of `kl`: a masked pass over so many train samples, and its derivatives."""
        return 2 * self.loss(samples) * SLOPES

    def timings(self, parts: int, *, batches: Sequence[int], contexts: Sequence[int], steps: int) -> float:
        """Seconds of the stage `latency`: every method at every target is a part, all batches and contexts in each.

        A step reads all weights once, on both sides (masked or not, this is the most); contexts run on both sides each
        time they are begun. Compiling the dense model comes on top, once for every batch and context.
        """
        sizes, rates = self.sizes, self.rates
        weights = sizes.parameters * self.bytes_per_number
        step = weights / rates.bandwidth + self._dispatch(is_masked=True)
        cells = len(batches) * len(contexts)
        tokens = sum(batches) * sum(contexts)
        contexts_run = 2.0 * tokens * sizes.blocks * sizes.block_weights / rates.flops
        copied = 2 * weights / rates.bandwidth  # weights input-major, once a part
        return cells * COMPILING + parts * (BEGUN * contexts_run + cells * STEPS_PER_TIMED * steps * step + copied)

    def _pass(self, tokens: np.ndarray, predicted: np.ndarray, *, is_masked: bool) -> float:
        nothing = np.zeros_like(tokens)
        work = Work(tokens, tokens * (tokens + 1) // 2, predicted, nothing, nothing[:, None])
        total = float(tokens.sum())
        operations = float(dense_flops(self.sizes.shape, work).sum())
        traversals = TRAVERSALS + MASKING_TRAVERSALS * is_masked
        moved = total * sum(self.sizes.shape.features) * self.bytes_per_number * traversals
        steps = math.ceil(total / self.batch)
        return operations / self.rates.flops + moved / self.rates.bandwidth + steps * self._dispatch(is_masked)

    def _decoding(self, chosen: np.ndarray, is_masked: bool) -> float:
        """Batches decode until their longest answer ends; a step reads all weights once."""
        rows = self.workload.prompts[chosen] + self.workload.answers[chosen]
        if not len(rows):
            return 0.0
        batches = math.ceil(float(rows.sum()) / self.batch)
        steps = batches * float(self.workload.answers[chosen].max())
        weights = self.sizes.parameters * self.bytes_per_number / self.rates.bandwidth
        each = 2.0 * self.sizes.parameters * len(rows) / batches / self.rates.flops
        return steps * (max(weights, each) + self._dispatch(is_masked))

    def _dispatch(self, is_masked: bool) -> float:
        operations = SMALL_OPERATIONS + MASKING_OPERATIONS * is_masked
        return self.sizes.blocks * (operations + len(self.sizes.block)) * self.rates.dispatch


def greedy_operations(sizes: Sizes, *, stop: float, step: float, tokens: int) -> float:
    """Operations of the products of one block's search, for one group.

    Every round tries one step on every projection that has one left; here all of them have one until the end, so this
    is the most. A step on q, k or v runs them all again, on all tokens, and everything behind on the measured ones; a
    step on o everything behind it; a step on gate or up that one and down.

    Args:
        stop: the highest target.
        step: sparsity of the first projection's step.
        tokens: measured tokens.
    """
    gated = {site: sum(one.weights for one in sizes.block if one.site == site) for site in _SITES}
    behind = {
        "qkv": gated["qkv"] * MEASURED_SHARE + gated["o"] + gated["gate_up"] + gated["down"],
        "o": gated["o"] + gated["gate_up"] + gated["down"],
        "down": gated["down"],
    }
    products = sum(one.weights + gated["down"] if one.site == "gate_up" else behind[one.site] for one in sizes.block)
    rounds = math.ceil(stop * sizes.block_weights / (step * sizes.block[0].weights))
    return 2.0 * rounds * tokens * products


_SITES = ("qkv", "o", "gate_up", "down")
