"""Put masks on a loaded model and take them off again: the reference backend, on any device.

A forward pre-hook on every projection replaces the input of its `nn.Linear` by the masked one. Nothing else of the
model is touched, so leaving the context restores it exactly. Thresholds are looked up per row: one forward pass serves
a batch that mixes groups. Weights stay where they are and are read in full; this backend defines results, it saves no
time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pipeline.models.load import LoadedModel
from pipeline.models.projections import Projection, projections
from pipeline.scoring import feature_weights
from pipeline.sparse.cutoffs import cutoffs
from pipeline.sparse.reference import is_compiled, mask


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
        projs: the model's projections.
        criterion: how features are scored.
        thresholds: float32 `[groups, blocks, projections of a block]`.
    """

    def __init__(
        self, projs: list[Projection], criterion: str, thresholds: Float[Tensor, "groups blocks projections"]
    ) -> None:
        flat = thresholds.reshape(len(thresholds), -1)
        self._cutoffs = [
            cutoffs(feature_weights(criterion, weight, proj.name), flat[:, index].to(weight.device))
            for index, (proj, weight) in enumerate((proj, proj.module.weight) for proj in projs)
        ]
        self._groups = len(thresholds)
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
        kept = torch.zeros(len(self._cutoffs), len(groups), dtype=torch.int64, device=groups.device)
        counts = Counts(tokens=eligible.sum(dim=1), kept=kept.T)
        self._rows = _Rows(groups.contiguous(), eligible.contiguous(), kept)
        try:
            yield counts
        finally:
            self._rows.gather()
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
            rows = rows.on(x.device)
            out = self._buffer(x) if is_compiled(x) and not torch.is_grad_enabled() else None
            masked = mask(x, self._cutoffs[index], rows.groups, rows.eligible, rows.kept[index], out)
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
    loaded: LoadedModel, criterion: str, thresholds: Float[Tensor, "groups blocks projections"]
) -> Generator[Runtime]:
    """Mask the inputs of every projection while the context lasts.

    Args:
        loaded: the model.
        criterion: how features are scored (`pipeline.scoring`).
        thresholds: `[groups, blocks, projections of a block]` in the order of `models.projections.projections`; scores
            at or below it are masked. A threshold of 0 masks only features that contribute nothing.

    Yields: the runtime; run the model inside `runtime.rows(groups, eligible)`.

    Guarantee: on exit, also after an error, no hook is left on the model. Thresholds of 0 give the dense model's output
    exactly.

    Raises:
        ValueError: thresholds of the wrong shape, negative, or NaN.
    """
    projs = projections(loaded.model)
    _check(thresholds, projs)
    runtime = Runtime(projs, criterion, thresholds.to(dtype=torch.float32))
    with ExitStack() as stack:
        for index, proj in enumerate(projs):
            stack.callback(proj.module.register_forward_pre_hook(runtime.hook(index)).remove)
        yield runtime


@dataclass(frozen=True)
class _Rows:
    """Rows of a forward pass; a model that is spread over devices gets a copy on each of them."""

    groups: Tensor
    eligible: Tensor
    kept: Tensor
    copies: dict[torch.device, _Rows] = field(default_factory=dict[torch.device, "_Rows"])

    def on(self, device: torch.device) -> _Rows:
        """These rows on another device, with counters of their own."""
        if device == self.kept.device:
            return self
        if device not in self.copies:
            counters = torch.zeros_like(self.kept, device=device)
            self.copies[device] = _Rows(self.groups.to(device), self.eligible.to(device), counters)
        return self.copies[device]

    def gather(self) -> None:
        """Add the counters of all copies to `kept`."""
        for rows in self.copies.values():
            self.kept.add_(rows.kept.to(self.kept.device))


def _check(thresholds: Tensor, projs: list[Projection]) -> None:
    blocks = projs[-1].block + 1
    if thresholds.ndim != 3 or thresholds.shape[1:] != (blocks, len(projs) // blocks):
        raise ValueError(f"thresholds must be [groups, {blocks}, {len(projs) // blocks}], got {list(thresholds.shape)}")
    bad = (~(thresholds >= 0)).nonzero()
    if len(bad):
        group, block, position = bad[0].tolist()
        name = projs[block * thresholds.shape[2] + position].name
        raise ValueError(
            f"thresholds must be numbers of at least 0, got {float(thresholds[group, block, position])} "
            f"for group {group}, block {block}, projection {name}"
        )
