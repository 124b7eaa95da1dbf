"""Put masks on a loaded model and take them off again: the reference backend, on any device.

A forward pre-hook on every projection replaces the input of its `nn.Linear` by the masked one. Nothing else of the
model is touched, so leaving the context restores it exactly. What a profile says is looked up per row: one forward pass
serves a batch that mixes groups. Weights stay where they are and are read in full; this backend defines results, it
saves no time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pipeline.models.load import LoadedModel
from pipeline.models.projections import Projection, projections
from pipeline.scoring import feature_weights
from pipeline.sparse.masks import Masker, MaskKind, mask_kind
from pipeline.sparse.reference import is_compiled


@dataclass(frozen=True)
class Counts:
    """What was kept in the forward passes of one `Runtime.rows` context, on the model's device.

    Attributes:
        tokens: eligible tokens of every row, int64, summed over the forward passes.
        kept: features of those tokens that were kept, int64, per row and projection (in the order of `projections`).
    """

    tokens: Int[Tensor, " batch"]
    kept: Int[Tensor, "batch projections"]


class Runtime:
    """A model with masks on it; made by `install`.

    Args:
        maskers: the mask of every projection.
        groups: number of groups that they know.
    """

    def __init__(self, maskers: list[Masker], groups: int) -> None:
        self._maskers = maskers
        self._groups = groups
        self._rows: _Rows | None = None
        self._buffers: dict[int, Tensor] = {}

    @contextmanager
    def rows(self, groups: Int[Tensor, " batch"], eligible: Bool[Tensor, "batch width"]) -> Generator[Counts]:
        """Say what the rows of the next forward passes are; passes outside this context are refused.

        Args:
            groups: group of every row, int64.
            eligible: tokens that may be masked, for inputs of exactly this batch and width.

        Raises:
            ValueError: a group that has no profile (on the CPU; on a GPU the look-up itself fails).
        """
        is_known = groups.device.type != "cpu" or bool(((groups >= 0) & (groups < self._groups)).all())
        if not is_known:
            raise ValueError(f"groups must be in [0, {self._groups}), got {groups.unique().tolist()}")
        # One row of counters per projection, so that every mask adds to contiguous memory.
        kept = torch.zeros(len(self._maskers), len(groups), dtype=torch.int64, device=groups.device)
        counts = Counts(tokens=eligible.sum(dim=1), kept=kept.T)
        self._rows = _Rows(groups.contiguous(), eligible.contiguous(), kept)
        try:
            yield counts
        finally:
            self._rows = None

    def hook(self, index: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
        """The forward pre-hook of projection number `index`."""

        def pre_hook(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            rows = self._rows
            if rows is None:
                raise RuntimeError("a model with masks must be run inside `Runtime.rows(groups, eligible)`")
            x: Tensor = inputs[0]
            if x.shape[:2] != rows.eligible.shape:
                declared = tuple(rows.eligible.shape)
                raise RuntimeError(f"rows were declared as {declared}, the input is {tuple(x.shape[:2])}")
            out = self._buffer(x) if is_compiled(x) and not torch.is_grad_enabled() else None
            masked = self._maskers[index](x, rows.groups, rows.eligible, rows.kept[index], out)
            return (masked, *inputs[1:])

        return pre_hook

    def _buffer(self, x: Tensor) -> Tensor:
        """Memory for a masked input. Only the projection itself reads it, so the next mask may overwrite it: fresh
        megabytes per projection would cost more in page faults than the mask."""
        features = x.shape[-1]
        buffer = self._buffers.get(features)
        if buffer is None or buffer.numel() < x.numel():
            buffer = self._buffers[features] = torch.empty(x.numel(), dtype=torch.float32)
        return buffer[: x.numel()].view(x.shape)


@contextmanager
def install(
    loaded: LoadedModel, criterion: str, values: Float[Tensor, "groups blocks projections"], kind: str = "threshold"
) -> Generator[Runtime]:
    """Mask the inputs of every projection while the context lasts.

    Args:
        loaded: the model.
        criterion: how features are scored (`pipeline.scoring`).
        values: `[groups, blocks, projections of a block]` in the order of `models.projections.projections`. For
            `threshold`: scores at or below it are masked, so 0 masks only features that contribute nothing. For `topk`:
            the sparsity that says how many of the largest scores are kept, in float64, as float32 may round k down.
        kind: a name in `sparse.masks.MASKS`.

    Yields: the runtime; run the model inside `runtime.rows(groups, eligible)`.

    Guarantee: on exit, also after an error, no hook is left on the model. Values of 0 give the dense model's output
    exactly, for every kind.

    Raises:
        UserError: unknown criterion or kind.
        ValueError: values of the wrong shape, out of range, or NaN.
    """
    projs = projections(loaded.model)
    row = mask_kind(kind)
    _check(values, row, projs)
    flat = values.reshape(len(values), -1)
    maskers = [
        row.build(feature_weights(criterion, proj.module.weight, proj.name), flat[:, index])
        for index, proj in enumerate(projs)
    ]
    runtime = Runtime(maskers, len(values))
    with ExitStack() as stack:
        for index, proj in enumerate(projs):
            stack.callback(proj.module.register_forward_pre_hook(runtime.hook(index)).remove)
        yield runtime


@dataclass(frozen=True)
class _Rows:
    groups: Tensor
    eligible: Tensor
    kept: Tensor


def _check(values: Tensor, kind: MaskKind, projs: list[Projection]) -> None:
    blocks = projs[-1].block + 1
    if values.ndim != 3 or values.shape[1:] != (blocks, len(projs) // blocks):
        raise ValueError(f"{kind.column} must be [groups, {blocks}, {len(projs) // blocks}], got {list(values.shape)}")
    bad = (~((values >= 0) & (values <= kind.highest))).nonzero()
    if len(bad):
        group, block, position = bad[0].tolist()
        name = projs[block * values.shape[2] + position].name
        raise ValueError(
            f"{kind.column} must be numbers in [0, {kind.highest:g}], got {float(values[group, block, position])} "
            f"for group {group}, block {block}, projection {name}"
        )
