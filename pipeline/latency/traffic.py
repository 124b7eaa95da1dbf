"""The bytes that a decode step reads, and the speed of its kernels beside that of a memory copy.

A step is bound by the bytes it reads: the kept columns of every projection (of a batch: those that any sequence keeps),
all other weights but the embeddings, of which one row is read, and the cache's keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.latency.steps import recorded
from wina_amp.decode.interleaved import spread, time_interleaved
from wina_amp.models.mask_sites import MaskSite

LEAST_COPIED = 64_000_000
"""Bytes of a copy's source, at least; twice the last-level cache where that is more."""


@dataclass(frozen=True)
class Reading:
    """The inputs of projections in decode steps, and the weights that masks kept of them.

    Attributes:
        inputs: of the last step, for every projection `[batch, 1, in]`.
        kept: bytes of projections' weights that a step reads, on average over the steps.
        offered: bytes of all of them.
    """

    inputs: list[Float[Tensor, "batch 1 in"]]
    kept: float
    offered: int


def watch(
    masks: Sequence[MaskSite],
    cutoffs: Sequence[Float32[Tensor, "groups in"]],
    groups: Int[Tensor, " batch"],
    step: Callable[[], object],
    steps: int,
) -> Reading:
    """Run decode steps, whose projections are called by Python, and count what they keep.

    `cutoffs` are the largest magnitudes that every mask, at the input of a projection, masks; `groups` those of every
    sequence.
    """
    inputs: list[Tensor] = [torch.empty(0) for _ in masks]
    kept = [0.0 for _ in masks]

    def seeing(number: int) -> Callable[[Tensor], None]:
        def see(x: Tensor) -> None:
            inputs[number] = x
            is_kept = ~(x[:, 0].float().abs() <= cutoffs[number][groups])
            kept[number] += float(is_kept.any(dim=0).sum())

        return see

    with ExitStack() as stack:
        for number, site in enumerate(masks):
            stack.callback(site.tap.register(seeing(number)).remove)
        for _ in range(steps):
            step()
    columns = [site.projection.module.weight[:, 0].nbytes for site in masks]
    return Reading(
        inputs=inputs,
        kept=sum(number / steps * size for number, size in zip(kept, columns, strict=True)),
        offered=sum(site.projection.module.weight.nbytes for site in masks),
    )


def other_bytes(model: PreTrainedModel, masks: Sequence[MaskSite]) -> int:
    """Bytes of what a step reads besides the projections' weights and the cache: norms, `lm_head`, rotations. Learned
    feature weights, buffers of the projections, are not read: cutoffs are made from them once."""
    known = {id(site.projection.module.weight) for site in masks}
    known |= {id(buffer) for site in masks for buffer in site.projection.module.buffers(recurse=False)}
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    embeddings, head = (cast(Any, module).weight for module in ends)
    if embeddings is not head:
        known.add(id(embeddings))
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()) if id(tensor) not in known)


@dataclass(frozen=True)
class Rates:
    """Bytes a second: read by the projections' kernels, and moved by a memory copy."""

    kernels: float
    copy: float


def rates(
    masks: Sequence[MaskSite], reading: Reading, cache: int, rounds: int, device: torch.device, now: Callable[[], float]
) -> Rates:
    """Speed of the projections, run one after the other as in the last step, and of a copy, timed interleaved.

    The copy, of at least twice the last-level cache, counts bytes read and written. `now`: see `interleaved.clock`.
    """
    source = torch.ones(max(LEAST_COPIED, 2 * cache) // 4, dtype=torch.float32, device=device)
    target = torch.empty_like(source)

    def kernels() -> None:
        for site, x in zip(masks, reading.inputs, strict=True):
            site.projection.module(x)

    def copy() -> None:
        target.copy_(source)

    workloads: dict[str, Callable[[], object]] = {"kernels": kernels, "copy": copy}
    if device.type == "cuda":  # one launch after the other would measure launches
        workloads = {name: recorded(workload) for name, workload in workloads.items()}
    seconds = time_interleaved(workloads, rounds, now)
    return Rates(reading.kept / spread(seconds["kernels"]).median, 2 * source.nbytes / spread(seconds["copy"]).median)
