"""Put masks on a loaded model and take them off again: the reference backend, on any device.

A hook at every site where the criterion's masks act (the input of every projection, or the activated gate of every
MLP; `wina_amp/models/mask_sites.py`) replaces the tensor by the masked one. Nothing else of the model is touched, so
leaving the context restores it exactly. What a profile says is looked up per row: one forward pass serves a batch that
mixes groups. Weights stay where they are and are read in full; this backend defines results, it saves no time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wina_amp.masks.kinds import Masker, MaskKind, mask_kind
from wina_amp.models.mask_sites import MaskSite, Tap, mask_sites
from wina_amp.scoring.criteria import criterion_row, projection_weights

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel


@dataclass(frozen=True)
class Counts:
    """What was kept in the forward passes of one `Runtime.rows` context, on the model's device.

    Attributes:
        tokens: eligible tokens of every row, int64, summed over the forward passes.
        kept: features of those tokens that were kept, int64, per row and mask (in the order of `mask_sites`).
    """

    tokens: Int[Tensor, " batch"]
    kept: Int[Tensor, "batch masks"]


class Runtime:
    """A model with masks on it; made by `install`."""

    def __init__(self, maskers: list[Masker], groups: int) -> None:
        self._maskers = maskers
        self._groups = groups
        self.masks = len(maskers)
        self._rows: _Rows | None = None
        self._buffers: dict[tuple[int, torch.dtype], Tensor] = {}

    @contextmanager
    def rows(
        self,
        groups: Int[Tensor, " batch"],
        eligible: Bool[Tensor, "batch width"],
        prompts: Int[Tensor, " batch"] | None = None,
    ) -> Generator[Counts]:
        """Say what the rows of the next forward passes are; passes outside this context are refused.

        Args:
            groups: group of every row, int64.
            eligible: tokens that may be masked, for inputs of exactly this batch and width.
            prompts: tokens of every row's prompt, where these passes read prompts; only masks of the kind `prompt` ask.

        Raises:
            ValueError: a group that has no profile (on the CPU; on a GPU the look-up itself fails).
        """
        is_known = groups.device.type != "cpu" or bool(((groups >= 0) & (groups < self._groups)).all())
        if not is_known:
            raise ValueError(f"groups must be in [0, {self._groups}), got {groups.unique().tolist()}")
        # One row of counters per mask, so that every mask adds to contiguous memory.
        kept = torch.zeros(len(self._maskers), len(groups), dtype=torch.int64, device=groups.device)
        counts = Counts(tokens=eligible.sum(dim=1), kept=kept.T)
        self._rows = _Rows(groups.contiguous(), eligible.contiguous(), kept, prompts)
        try:
            yield counts
        finally:
            self._rows.gather()
            self._rows = None

    def hook(self, index: int) -> Callable[[Tensor], Tensor]:
        """What happens at site number `index`."""

        def masked(x: Tensor) -> Tensor:
            rows = self._rows
            if rows is None:
                raise RuntimeError("a model with masks must be run inside `Runtime.rows(groups, eligible)`")
            if x.shape[:2] != rows.eligible.shape:
                declared = tuple(rows.eligible.shape)
                raise RuntimeError(f"rows were declared as {declared}, the input is {tuple(x.shape[:2])}")
            rows = rows.on(x.device)
            out = self._buffer(x, rows) if x.device.type == "cpu" and not torch.is_grad_enabled() else None
            return self._maskers[index](x, rows.groups, rows.eligible, rows.counters[index], out, rows.prompts)

        return masked

    def _buffer(self, x: Tensor, rows: _Rows) -> Tensor:
        """Memory for a masked tensor. It is read once, before the next mask of that width is made, which may therefore
        overwrite it: fresh megabytes per mask would cost more in page faults than the mask."""
        kind = (x.shape[-1], x.dtype)  # autocast mixes types
        if kind not in rows.buffers:
            buffer = self._buffers.get(kind)
            if buffer is None or buffer.numel() < x.numel():
                buffer = self._buffers[kind] = torch.empty(x.numel(), dtype=x.dtype)
            rows.buffers[kind] = buffer[: x.numel()].view(x.shape)
        return rows.buffers[kind]


@contextmanager
def install(
    loaded: LoadedModel, criterion: str, values: Float[Tensor, "groups blocks masks"], kind: str = "threshold"
) -> Generator[Runtime]:
    """Mask what the criterion reads while the context lasts.

    Args:
        loaded: the model. criterion: how features are scored (`wina_amp.scoring.criteria`). values: `[groups, blocks,
        masks of a block]` in the order of `models.mask_sites.mask_sites`. For `threshold`: scores at
            or below it are masked, so 0 masks only features that contribute nothing. For `topk` and `prompt`: the
            sparsity that says how many scores are kept, in float64, as float32 may round k down.
        kind: a name in `wina_amp.masks.kinds.MASKS`.

    Yields: the runtime; run the model inside `runtime.rows(groups, eligible)`.

    Guarantee: on exit, also after an error, no hook is left on the model. Values of 0 give the dense model's output
    exactly, for every kind.

    Raises:
        UserError: unknown criterion or kind.
        ValueError: values of the wrong shape, out of range, or NaN.
    """
    masks = mask_sites(loaded.model, criterion_row(criterion).reads)
    row = mask_kind(kind)
    check_values(values, row, masks)
    flat = values.reshape(len(values), -1)
    maskers = [
        row.build(projection_weights(criterion, site.projection), flat[:, index]) for index, site in enumerate(masks)
    ]
    runtime = Runtime(maskers, len(values))
    with replaced_activations((site.tap, runtime.hook(index)) for index, site in enumerate(masks)):
        yield runtime


@contextmanager
def replaced_activations(replacements: Iterable[tuple[Tap, Callable[[Tensor], Tensor | None]]]) -> Generator[None]:
    """Pass activations through a function each while the context lasts: all that masks a model does it with this.

    Args:
        replacements: tensors of the forward pass, each with activation -> activation; None leaves it as it is.

    Guarantee: on exit, also after an error, no hook is left on the model.
    """
    with ExitStack() as stack:
        for tap, replace in replacements:
            stack.callback(tap.register(replace).remove)
        yield


def check_values(values: Tensor, kind: MaskKind, masks: list[MaskSite]) -> None:
    """Refuse what a profile says if it is not one number in range per group, block and mask.

    Raises:
        ValueError: the shape, or the first number that is NaN or out of range, with its site.
    """
    blocks = masks[-1].projection.block + 1
    if values.ndim != 3 or values.shape[1:] != (blocks, len(masks) // blocks):
        raise ValueError(f"{kind.column} must be [groups, {blocks}, {len(masks) // blocks}], got {list(values.shape)}")
    bad = (~((values >= 0) & (values <= kind.highest))).nonzero()
    if len(bad):
        group, block, position = bad[0].tolist()
        name = masks[block * values.shape[2] + position].projection.name
        raise ValueError(
            f"{kind.column} must be numbers in [0, {kind.highest:g}], got {float(values[group, block, position])} "
            f"for group {group}, block {block}, projection {name}"
        )


@dataclass
class _Rows:
    """Rows of a forward pass; a model that is spread over devices gets a copy on each of them. Views of counters and
    buffers are made once, because every mask of every decoded token needs them."""

    groups: Tensor
    eligible: Tensor
    kept: Tensor
    prompts: Tensor | None
    buffers: dict[tuple[int, torch.dtype], Tensor] = field(default_factory=dict[tuple[int, torch.dtype], Tensor])
    copies: dict[torch.device, _Rows] = field(default_factory=dict[torch.device, "_Rows"])

    def __post_init__(self) -> None:
        self.counters = self.kept.unbind()

    def on(self, device: torch.device) -> _Rows:
        """These rows on another device, with counters of their own."""
        if device == self.kept.device:
            return self
        if device not in self.copies:
            counters = torch.zeros_like(self.kept, device=device)
            prompts = None if self.prompts is None else self.prompts.to(device)
            self.copies[device] = _Rows(self.groups.to(device), self.eligible.to(device), counters, prompts)
        return self.copies[device]

    def gather(self) -> None:
        """Add the counters of all copies to `kept`."""
        for rows in self.copies.values():
            self.kept.add_(rows.kept.to(self.kept.device))
