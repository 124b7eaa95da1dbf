"""Time one method at one target: decode steps through `sparse_decoding`, interleaved with the dense baseline.

    ms a token = median step + time to route the batch's prompts / tokens of an answer
    speed-up   = median over rounds of dense step / (sparse step + the same fraction of routing)

Scoring and masking happen inside the sparse steps, rotations in front of the projections; the dense baseline is the
model without rotations. What a step keeps, and how fast its kernels read it, is measured in other steps over the same
tokens, because measuring takes time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from torch import Tensor

from pipeline.latency.baseline import UNMASKED, Baseline, strongest
from pipeline.latency.machine import device_name, load
from pipeline.latency.refusal import able
from pipeline.latency.steps import DENSE_WAYS, SparseSteps, Steps, sparse_steps
from pipeline.latency.texts import Texts, texts
from pipeline.latency.traffic import Rates, Reading, other_bytes, rates, watch
from wina_amp.decode.decoding import Decoding, sparse_decoding
from wina_amp.decode.interleaved import WARM, clock, ratios, spread, time_interleaved
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.families import INPUT
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.models.sharing import copy_sharing_weights
from wina_amp.routing.prompt_router import PromptRouter
from wina_amp.routing.router import Router
from wina_amp.scoring.criteria import projection_weights

WATCHED = 4
"""Steps whose kept inputs are counted."""

ROUTED = 5
"""How often the prompts of a batch are routed, to time it."""

Cell = tuple[int, int]
"""Batch and context."""

log = logging.getLogger("pipeline.latency")


@dataclass(frozen=True)
class Work:
    """The text that is decoded and the settings of timing.

    Attributes:
        prompts: token ids of the samples whose text is decoded.
        contexts: tokens in front of the decoded ones.
        batches: sequences at a time.
        steps: timed decode steps.
        answer_tokens: tokens over which routing is spread.
        cache: bytes of the last-level cache.
        dense_prefix: see `eligibility.eligible`; what routers leave out.
    """

    prompts: Sequence[Int[ndarray, " tokens"]]
    contexts: tuple[int, ...]
    batches: tuple[int, ...]
    steps: int
    answer_tokens: int
    cache: int
    dense_prefix: int | float

    @property
    def cells(self) -> list[Cell]:
        """Every batch with every context."""
        return [(batch, context) for batch in self.batches for context in self.contexts]

    def texts(self, cell: Cell) -> Texts:
        """The sequences of a cell: the context, and a token for every step."""
        batch, context = cell
        return texts(self.prompts, batch, context + WARM + self.steps)


@dataclass(frozen=True)
class Profiled:
    """A method at a target.

    Attributes:
        criterion: how features are scored.
        thresholds: scores at or below are masked.
        groups: of every sample whose prompt is in `Work.prompts`.
        router: with the facts that were saved with it; None where groups are given.
    """

    criterion: str
    thresholds: Float32[Tensor, "groups blocks projections"]
    groups: Int[ndarray, " samples"]
    router: tuple[Router, Mapping[str, str]] | None


class Dense:
    """The strongest dense baseline of every cell, chosen before anything is compared. A context manager.

    Args:
        loaded: the model as it was stored, without rotations. It is left alone: copies of it run, which share its
            weights. `unmasked` needs them input-major as well; where it is nowhere the fastest, that memory is freed.
        work: what is decoded.
        now: see `interleaved.clock`; None takes that of the model's device.
    """

    def __init__(self, loaded: LoadedModel, work: Work, now: Callable[[], float] | None = None) -> None:
        device = loaded.device
        self.model = copy_sharing_weights(loaded.model)
        self.now = clock(device) if now is None else now
        self.cells: dict[Cell, Baseline] = {}
        whole = replace(loaded, model=copy_sharing_weights(loaded.model))
        # Kept: a context manager that nobody refers to ends, and `unmasked` would be torch's eager model.
        self._inside = ExitStack()
        decoding = self._inside.enter_context(_unmasked(whole, max(work.batches)))
        with torch.inference_mode():
            for cell in work.cells:
                batch, context = cell
                ids = work.texts(cell).ids.to(device)
                groups = torch.zeros(batch, dtype=torch.int64, device=device)
                candidates = {way: Steps(self.model, ids, context, way) for way in DENSE_WAYS[device.type]}
                candidates[UNMASKED] = sparse_steps(whole.model, ids, context, decoding, groups)
                baseline = strongest(candidates, work.steps, self.now)
                named = ", ".join(f"{way} {1e3 * seconds.median:.2f} ms" for way, seconds in baseline.tried.items())
                log.info("dense, batch %d, context %d: %s a token", *cell, named)
                self.cells[cell] = baseline
        if all(baseline.way != UNMASKED for baseline in self.cells.values()):
            self._inside.close()

    def __enter__(self) -> Dense:
        return self

    def __exit__(self, *_: object) -> None:
        self._inside.close()

    @property
    def bytes(self) -> int:
        """Bytes of weights that a step reads."""
        masks = mask_sites(self.model, INPUT)
        return sum(site.projection.module.weight.nbytes for site in masks) + other_bytes(self.model, masks)


def time_method(loaded: LoadedModel, dense: Dense, method: Profiled, work: Work) -> list[dict[str, Any]]:
    """One row of the table `timings` for every batch and context, without the columns `method` and `target`.

    Args:
        loaded: the model, rotated if it is to be. It runs sparse, and is afterwards what it was.
        dense: the dense baselines of the same checkpoint.
        method: the method that is timed.
        work: the work that `dense` was made with.

    Raises:
        UserError: no backend that skips weights; and see `sparse_decoding`.
    """
    backend = able(loaded.device.type, loaded.model.dtype, max(work.batches))[0]
    with sparse_decoding(loaded, method.criterion, method.thresholds, backend=backend) as decoding:
        router = None if method.router is None else PromptRouter(*method.router, loaded, work.dense_prefix)
        timed = _Timed(loaded, dense, decoding, method, work, router)
        return [timed.row(cell) | {"backend": backend} for cell in work.cells]


class _Timed:
    """A method's measurements while the model decodes sparse."""

    def __init__(
        self,
        loaded: LoadedModel,
        dense: Dense,
        decoding: Decoding,
        method: Profiled,
        work: Work,
        router: PromptRouter | None,
    ) -> None:
        self.loaded, self.dense, self.decoding = loaded, dense, decoding
        self.method, self.work, self.router = method, work, router
        self.masks = mask_sites(loaded.model, INPUT)
        flat = method.thresholds.reshape(len(method.thresholds), -1).to(loaded.device)
        self.cutoffs = [
            cutoffs(projection_weights(method.criterion, site.projection), limits)
            for site, limits in zip(self.masks, flat.unbind(dim=1), strict=True)
        ]

    def row(self, cell: Cell) -> dict[str, Any]:
        work, baseline, now = self.work, self.dense.cells[cell], self.dense.now
        batch, context = cell
        text = work.texts(cell)
        ids = text.ids.to(self.loaded.device)
        groups = torch.from_numpy(self.method.groups[text.first].astype(np.int64)).to(self.loaded.device)
        with torch.inference_mode():
            routing = self._routing(text, context, groups)
            reading, speed = self._read(ids, context, groups)
            steps = sparse_steps(self.loaded.model, ids, context, self.decoding, groups)
            steps.begin()
            baseline.steps.begin()
            seconds = time_interleaved({"dense": baseline.steps, "sparse": steps}, work.steps, now)
            steps.close()
            baseline.steps.close()
        fraction = routing / work.answer_tokens
        step, slow = spread(seconds["sparse"]), spread(seconds["dense"])
        gain = ratios(seconds["dense"], seconds["sparse"], fraction)
        return {
            "batch": batch,
            "context": context,
            "way": steps.way,
            "step_ms": 1e3 * step.median,
            "step_ms_low": 1e3 * step.low,
            "step_ms_high": 1e3 * step.high,
            "router_ms": 1e3 * routing,
            "ms_per_token": 1e3 * (step.median + fraction),
            "tokens_per_second": batch / (step.median + fraction),
            "dense_way": baseline.way,
            "dense_ms": 1e3 * slow.median,
            "dense_ms_low": 1e3 * slow.low,
            "dense_ms_high": 1e3 * slow.high,
            "speedup": gain.median,
            "speedup_low": gain.low,
            "speedup_high": gain.high,
            "skipped": 1 - reading.kept / reading.offered,
            "bytes_moved": reading.kept + other_bytes(self.loaded.model, self.masks) + steps.cache_bytes,
            "dense_bytes": float(self.dense.bytes + baseline.steps.cache_bytes),
            "kernel_gb_per_second": speed.kernels / 1e9,
            "copy_gb_per_second": speed.copy / 1e9,
            "load": load(),
            "device": device_name(self.loaded.device),
        }

    def _routing(self, text: Texts, context: int, groups: Tensor) -> float:
        """Median seconds of routing the batch's prompts, once, as `generate()` does it; 0 without a router."""
        router = self.router
        if router is None:
            return 0.0
        prompts = list(text.ids[:, :context].numpy())
        dense = torch.zeros(len(groups), context, dtype=torch.bool, device=groups.device)

        def route() -> None:
            with self.decoding.sequences(groups, dense):
                router(prompts)

        return spread(time_interleaved({"router": route}, ROUTED, self.dense.now, warm=1)["router"]).median

    def _read(self, ids: Tensor, context: int, groups: Tensor) -> tuple[Reading, Rates]:
        work = self.work
        watched = SparseSteps(self.loaded.model, ids, context, "eager", self.decoding, groups)
        watched.get_ready()
        watched.begin()
        reading = watch(self.masks, self.cutoffs, groups, watched, min(WATCHED, work.steps))
        speed = rates(self.masks, reading, work.cache, work.steps, self.loaded.device, self.dense.now)
        watched.close()
        return reading, speed


def _unmasked(loaded: LoadedModel, batch: int) -> AbstractContextManager[Decoding]:
    """Sparse decoding that keeps everything but exact zeros."""
    masks = mask_sites(loaded.model, INPUT)
    nothing = torch.zeros(1, masks[-1].projection.block + 1, len(masks) // (masks[-1].projection.block + 1))
    backend = able(loaded.device.type, loaded.model.dtype, batch)[0]
    return sparse_decoding(loaded, "teal", nothing, backend=backend)
