"""The error of one masked block: what the greedy search asks for, at a price that is bearable.

    E(levels) = || Y - Y' ||_F / || Y ||_F

Y is the dense block's output (residual stream) on the measured calibration tokens, Y' that of the block with every
projection's input masked at its level, on the same dense input. The Frobenius norm over tokens and hidden features is
the norm of TEAL's Algorithm 1; the released code instead averages, over hidden features, the L2 norm over a sample's
tokens and adds up samples, which makes a sample's weight depend on how text is cut into samples.

A round of the search asks for one choice of levels per projection, and most of them share most of the block. Every
intermediate result is therefore kept under the levels it depends on, until a round does not use it:

    attention output (q k v) -> residual (+ o) -> gate, up -> inner -> output (+ down)

so a step on `down` costs one matrix product, and attention is only run again when q, k or v changed. On the embedded
model this is a quarter of the multiplications of evaluating every choice from scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN

from pipeline.allocation.calibration import BlockInput
from pipeline.errors import UserError
from pipeline.models.load import LoadedModel
from pipeline.models.projections import Projection
from pipeline.models.rotation import rotated
from pipeline.sparse.reference import mask

_SAME_BLOCK = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest relative difference between the dense block put together here and the model's own: rounding of the dtype."""


class BlockError:
    """The objective of `greedy.search` for one block. A context manager: hooks are on the block's attention inside it.

    Args:
        loaded: the model.
        layer: the decoder layer.
        projections: its projections, in canonical order.
        inputs: the block's calibration inputs.
        cutoffs: for every projection the magnitudes at or below which its features are masked, one row per level
            (`pipeline.sparse.cutoffs`).

    Attributes:
        evaluations: errors computed so far.
        tokens: tokens that went through the block for them, by the weights they were multiplied with: 1 is a token
            through all projections of the block.

    Raises:
        UserError: on entry, if the layer is not the pre-norm gated block that is put together here.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        layer: nn.Module,
        projections: Sequence[Projection],
        inputs: Sequence[BlockInput],
        cutoffs: Mapping[str, Float[Tensor, "levels in"]],
    ) -> None:
        self._layer = layer
        self._inputs = inputs
        self._cutoffs = cutoffs
        self._projections = {projection.name: projection for projection in projections}
        self._names = {
            site: tuple(p.name for p in projections if p.site == site) for site in ("qkv", "o", "gate_up", "down")
        }
        self._position = {projection.name: number for number, projection in enumerate(projections)}
        self._family = loaded.family
        config: Any = loaded.model.config
        self._activation: Callable[[Tensor], Tensor] = ACT2FN[
            getattr(config, "hidden_activation", None) or config.hidden_act
        ]
        self._target = torch.cat([one.output for one in inputs])
        self._residual = torch.cat([one.hidden[one.measured] for one in inputs])
        self._norm = torch.linalg.vector_norm(self._target, dtype=torch.float64)
        self._kept: dict[tuple[object, ...], Tensor] = {}
        self._used: dict[tuple[object, ...], Tensor] = {}
        self._running: tuple[tuple[int, ...], BlockInput] | None = None
        self._attention_output: Tensor | None = None
        self._hooks: list[Any] = []
        self._share = {p.name: p.gated_weights / sum(q.gated_weights for q in projections) for p in projections}
        self.evaluations, self.tokens = 0, 0.0

    def __enter__(self) -> Self:
        for name in self._names["qkv"]:
            self._hooks.append(self._projections[name].module.register_forward_pre_hook(self._mask_hook(name)))
        self._hooks.append(self._projections["o"].module.register_forward_pre_hook(self._record))
        try:
            self._check_structure()
        except BaseException:
            self._remove_hooks()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove_hooks()

    def errors(self, choices: Sequence[tuple[int, ...]]) -> list[float]:
        """The error of every choice of levels (in the order of the projections); waits for the device once."""
        self.evaluations += len(choices)
        with torch.inference_mode():
            found = torch.stack([self._error(levels) for levels in choices])
        self._kept, self._used = self._used, {}
        return found.tolist()

    def _error(self, levels: tuple[int, ...]) -> Tensor:
        difference = self._output(levels) - self._target
        return torch.linalg.vector_norm(difference, dtype=torch.float64) / self._norm

    def _output(self, levels: tuple[int, ...]) -> Tensor:
        inner = self._recall("inner", levels, ("qkv", "o", "gate_up"), self._inner)
        down = self._masked_linear("down", inner, levels)
        return self._after_attention(levels) + self._norm_of(self._family.mlp_output_norm, down)

    def _inner(self, levels: tuple[int, ...]) -> Tensor:
        parts = [self._mlp_part(name, levels) for name in self._names["gate_up"]]
        gate, up = parts if len(parts) == 2 else parts[0].chunk(2, dim=-1)
        return self._activation(gate) * up

    def _mlp_part(self, name: str, levels: tuple[int, ...]) -> Tensor:
        def compute(levels: tuple[int, ...]) -> Tensor:
            return self._masked_linear(name, self._recall("normed", levels, ("qkv", "o"), self._normed), levels)

        return self._recall(name, levels, ("qkv", "o"), compute, also=name)

    def _normed(self, levels: tuple[int, ...]) -> Tensor:
        normed = self._norm_of(self._family.mlp_norm, self._after_attention(levels))
        return rotated(self._layer.get_submodule("mlp"), normed)

    def _after_attention(self, levels: tuple[int, ...]) -> Tensor:
        def compute(levels: tuple[int, ...]) -> Tensor:
            attended = self._recall("attended", levels, ("qkv",), self._attended)
            added = self._masked_linear("o", attended, levels)
            return self._residual + self._norm_of(self._family.attention_output_norm, added)

        return self._recall("after attention", levels, ("qkv", "o"), compute)

    def _attended(self, levels: tuple[int, ...]) -> Tensor:
        """What o reads, on the measured tokens; queries, keys and values of all eligible tokens are masked."""
        found: list[Tensor] = []
        for one in self._inputs:
            self._running = (levels, one)
            self._layer.get_submodule("self_attn")(**one.attention)
            self._ran((*self._names["qkv"], "o"), one.eligible.numel())  # o runs too, for nothing
            found.append(cast(Tensor, self._attention_output)[one.measured])
        self._running = self._attention_output = None
        return torch.cat(found)

    def _norm_of(self, name: str | None, x: Tensor) -> Tensor:
        return x if name is None else self._layer.get_submodule(name)(x)

    def _masked_linear(self, name: str, x: Float[Tensor, "tokens in"], levels: tuple[int, ...]) -> Tensor:
        everything = torch.ones(1, len(x), dtype=torch.bool, device=x.device)
        masked = self._mask(name, x[None], levels, everything)[0]
        self._ran((name,), len(x))
        module = self._projections[name].module
        return functional.linear(masked, module.weight, module.bias)

    def _mask(self, name: str, x: Tensor, levels: tuple[int, ...], eligible: Tensor) -> Tensor:
        rows = torch.full((len(x),), levels[self._position[name]], dtype=torch.int64, device=x.device)
        return mask(x, self._cutoffs[name], rows, eligible, torch.zeros_like(rows))

    def _mask_hook(self, name: str) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def pre_hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if self._running is None:
                return None
            levels, one = self._running
            return (self._mask(name, args[0], levels, one.eligible), *args[1:])

        return pre_hook

    def _ran(self, names: Sequence[str], tokens: int) -> None:
        self.tokens += tokens * sum(self._share[name] for name in names)

    def _record(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        self._attention_output = args[0]

    def _recall(
        self,
        what: str,
        levels: tuple[int, ...],
        sites: tuple[str, ...],
        compute: Callable[[tuple[int, ...]], Tensor],
        also: str | None = None,
    ) -> Tensor:
        """`compute(levels)`, unless this round or the last one did it for the same levels of the projections read."""
        names = [name for site in sites for name in self._names[site]] + ([also] if also else [])
        key = (what, *(levels[self._position[name]] for name in names))
        if key not in self._used:
            self._used[key] = self._kept[key] if key in self._kept else compute(levels)
        return self._used[key]

    def _check_structure(self) -> None:
        """Levels of 0 mask nothing but zeros: the error must be rounding."""
        [error] = self.errors([(0,) * len(self._position)])
        allowed = _SAME_BLOCK.get(self._target.dtype, max(_SAME_BLOCK.values()))
        if not error <= allowed:
            raise UserError(
                "Greedy allocation needs decoder layers that are x + attention(x), then x + mlp(x), normed as listed",
                found=f"a dense output that differs from the model's own by {error:.2g} (relative)",
                where=f"{type(self._layer).__name__} of the model",
                remedy="use `allocation: uniform` with this family",
            )

    def _remove_hooks(self) -> None:
        for handle in self._hooks:
            handle.remove()
        self._hooks.clear()
