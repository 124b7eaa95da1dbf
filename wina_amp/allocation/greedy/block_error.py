"""The error of one masked block, the objective of the greedy search, computed from kept intermediate results.

    E(steps) = || Y - Y' ||_F / || Y ||_F

Y is the dense block's output (residual stream) on the measured calibration tokens, Y' that of the block with every
projection's input masked as after its steps, on the same dense input. The Frobenius norm over tokens and hidden
features is the norm of TEAL's Algorithm 1; the released code instead averages, over hidden features, the L2 norm over a
sample's tokens and adds up samples, which makes a sample's weight depend on how text is cut into samples.

A round of the search asks for one more step of each projection in turn, and most of these choices share most of the
block:

    attention output (q k v) -> residual (+ o) -> gate, up -> inner -> output (+ down)

1. Every intermediate result is kept under the steps it depends on until a round does not use it, so that attention is
   only run again when q, k or v changed, and a step on `down` runs nothing in front of it.
2. A product whose input stayed the same, but for one step of its own mask, is that of the last round minus the newly
   masked features times their columns (`wina_amp/allocation/greedy/advance.py`; CPU, float32).
3. What is left over is computed for all choices of a round at once, map after map (elsewhere than on the CPU).
4. Only k and v need tokens whose error is not measured. (The model's own attention runs, and with it all queries.)

Errors are those of evaluating every choice from scratch, up to the rounding of float32 sums. What this saves is in
docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from transformers.activations import ACT2FN

from wina_amp.allocation.calibration.texts import BlockInput
from wina_amp.allocation.greedy.advance import WORTH, advance, newly_masked
from wina_amp.allocation.greedy.recent import Recent
from wina_amp.errors import UserError
from wina_amp.masks.install import replaced_activations
from wina_amp.masks.reference import is_compiled, mask
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import Tap
from wina_amp.models.projections import Projection
from wina_amp.models.rotation import rotated

_SAME_BLOCK = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest relative difference between the dense block put together here and the model's own: rounding of the dtype."""

_NEAR = 16
"""Steps back that a product may be made from; with the published step more would not be worth it."""


class BlockError:
    """The objective of `greedy.search` for one block. A context manager: hooks are on the block's attention inside it.

    Args:
        loaded: the model.
        projections: those of the block, in canonical order.
        inputs: the block's calibration inputs.
        cutoffs: for every projection the magnitudes at or below which its features are masked, one row per step
            (`wina_amp.masks.cutoffs`).

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
        projections: Sequence[Projection],
        inputs: Sequence[BlockInput],
        cutoffs: Mapping[str, Float[Tensor, "steps in"]],
    ) -> None:
        self._layer = loaded.layers[projections[0].block]
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
        self._target = torch.cat([block_input.output for block_input in inputs])
        self._residual = torch.cat([block_input.hidden[block_input.measured] for block_input in inputs])
        self._norm = torch.linalg.vector_norm(self._target, dtype=torch.float64)
        self._recent = Recent(span=len(projections))
        self._everything = torch.ones(1, len(self._target), dtype=torch.bool, device=self._target.device)
        self._transposed: dict[str, tuple[Tensor, Tensor]] = {}
        self._running: tuple[tuple[int, ...], BlockInput] | None = None
        self._attention_output: Tensor | None = None
        self._hooks = ExitStack()
        weights = {name: projection.gated_weights for name, projection in self._projections.items()}
        self._fraction = {name: Fraction(count, sum(weights.values())) for name, count in weights.items()}
        self.evaluations, self.tokens = 0, Fraction(0)

    def __enter__(self) -> Self:
        tap = {name: Tap(projection.module) for name, projection in self._projections.items()}
        masks = [(tap[name], partial(self._masked, name)) for name in self._names["qkv"]]
        with ExitStack() as hooks:
            hooks.enter_context(replaced_activations([*masks, (tap["o"], self._record)]))
            self._check_structure()
            self._hooks = hooks.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()

    def errors(self, choices: Sequence[tuple[int, ...]]) -> list[float]:
        """The error of every choice of steps (in the order of the projections); waits for the device once."""
        with torch.inference_mode():
            errors = torch.stack([self._error(difference) for difference in self._differences(choices)])
        self.evaluations += len(choices)
        self._recent.advance(len(choices))
        return errors.tolist()

    def _error(self, difference: Tensor) -> Tensor:
        return torch.linalg.vector_norm(difference, dtype=torch.float64) / self._norm

    def _differences(self, choices: Sequence[tuple[int, ...]]) -> list[Tensor]:
        """The block's output on the measured tokens minus the dense one, part after part for all choices."""
        qkv, o, gate_up = (self._names[site] for site in ("qkv", "o", "gate_up"))
        mlp, family = self._layer.get_submodule("mlp"), self._family
        attended = self._each("attended", qkv, choices, lambda n: self._attend(choices[n]))
        added = self._products("o", qkv, choices, attended)
        after = self._each(
            "after attention",
            qkv + o,
            choices,
            lambda n: self._residual + self._norm_of(family.attention_output_norm, added[n]),
        )
        normed = self._each(
            "normed", qkv + o, choices, lambda n: rotated(mlp, self._norm_of(family.mlp_norm, after[n]))
        )
        parts = [self._products(name, qkv + o, choices, normed) for name in gate_up]
        inner = self._each("inner", qkv + o + gate_up, choices, lambda n: self._inner([part[n] for part in parts]))
        down = self._products("down", qkv + o + gate_up, choices, inner)
        missing = self._each("missing", qkv + o, choices, lambda n: after[n] - self._target)
        return [rest + self._norm_of(family.mlp_output_norm, out) for rest, out in zip(missing, down, strict=True)]

    def _inner(self, parts: Sequence[Tensor]) -> Tensor:
        gate, up = parts if len(parts) == 2 else parts[0].chunk(2, dim=-1)
        activated = self._activation(gate)
        return activated.mul_(up) if activated.data_ptr() != gate.data_ptr() else activated * up

    def _attend(self, taken: tuple[int, ...]) -> Tensor:
        """The input of o on the measured tokens; queries, keys and values of all eligible tokens are masked."""
        attended: list[Tensor] = []
        for block_input in self._inputs:
            self._running = (taken, block_input)
            self._layer.get_submodule("self_attn")(**block_input.attention)
            self._ran(self._names["qkv"], block_input.eligible.numel())
            attended.append(cast(Tensor, self._attention_output)[block_input.measured])
        self._running = self._attention_output = None
        return torch.cat(attended)

    def _each(
        self, what: str, names: Sequence[str], choices: Sequence[tuple[int, ...]], compute: Callable[[int], Tensor]
    ) -> list[Tensor]:
        """`compute(n)` for choice n, which depends on the steps of `names` only, unless it is known."""
        results: list[Tensor] = []
        for number, taken in enumerate(choices):
            key = (what, *self._steps(names, taken))
            known = self._recent.get(key)
            results.append(self._recent.put(key, compute(number)) if known is None else known)
        return results

    def _products(
        self, name: str, names: Sequence[str], choices: Sequence[tuple[int, ...]], inputs: Sequence[Tensor]
    ) -> list[Tensor]:
        """A map's output for every choice, whose input depends on the steps of `names` only.

        Known ones, those that are a few features away from known ones, and the others. On the CPU these are computed
        one by one, which is as fast there: in one product, equal rows in different places may differ in the last bit.
        """
        keys = [(name, *self._steps((*names, name), taken)) for taken in choices]
        missing: dict[tuple[object, ...], Tensor] = {}
        for key, x in zip(keys, inputs, strict=True):
            if self._recent.get(key) is None:
                if is_compiled(x):
                    output = self._advanced(name, key, x.contiguous())
                    self._recent.put(key, self._masked_linear(name, x[None], [key])[0] if output is None else output)
                else:
                    missing.setdefault(key, x)
        if missing:
            outputs = self._masked_linear(name, torch.stack(list(missing.values())), list(missing))
            for key, output in zip(missing, outputs, strict=True):
                self._recent.put(key, output)
        return [cast(Tensor, self._recent.get(key)) for key in keys]

    def _advanced(self, name: str, key: tuple[object, ...], x: Tensor) -> Tensor | None:
        """The product made from that of an earlier step of its own mask, if there is one that is near enough."""
        steps, cutoffs = cast(int, key[-1]), self._cutoffs[name]
        for earlier in range(steps - 1, max(steps - 1 - _NEAR, -1), -1):
            known = self._recent.get((*key[:-1], earlier))
            if known is not None:
                features = newly_masked(x, cutoffs[earlier], cutoffs[steps])
                if features > WORTH * x.numel():
                    return None
                output = known.clone()
                advance(output, x, cutoffs[earlier], cutoffs[steps], *self._input_major(name))
                self._ran((name,), Fraction(features, x.shape[1]))
                return output
        return None

    def _input_major(self, name: str) -> tuple[Float[Tensor, "in out"], Float[Tensor, " out"]]:
        """Weight and bias as `advance` takes them."""
        if name not in self._transposed:
            module = self._projections[name].module
            bias = cast("Tensor | None", module.bias)
            bias = torch.zeros(module.out_features) if bias is None else bias
            self._transposed[name] = (module.weight.t().contiguous(), bias)
        return self._transposed[name]

    def _norm_of(self, name: str | None, x: Tensor) -> Tensor:
        return x if name is None else self._layer.get_submodule(name)(x)

    def _masked_linear(
        self, name: str, x: Float[Tensor, "choices tokens in"], keys: Sequence[tuple[object, ...]]
    ) -> Float[Tensor, "choices tokens out"]:
        self._ran((name,), x.shape[0] * x.shape[1])
        module = self._projections[name].module
        everything = self._everything.expand(x.shape[0], -1).contiguous()
        steps = [cast(int, key[-1]) for key in keys]
        return functional.linear(self._mask(name, x, steps, everything), module.weight, module.bias)

    def _mask(self, name: str, x: Tensor, steps: Sequence[int], eligible: Tensor) -> Tensor:
        rows = torch.tensor(steps, dtype=torch.int64, device=x.device)
        return mask(x, self._cutoffs[name], rows, eligible, torch.zeros_like(rows))

    def _steps(self, names: Sequence[str], taken: tuple[int, ...]) -> list[int]:
        return [taken[self._position[name]] for name in names]

    def _masked(self, name: str, x: Tensor) -> Tensor | None:
        """The masked input of q, k or v while `_attend` runs attention."""
        if self._running is None:
            return None
        taken, block_input = self._running
        return self._mask(name, x, [taken[self._position[name]]] * len(x), block_input.eligible)

    def _ran(self, names: Sequence[str], tokens: int | Fraction) -> None:
        self.tokens += tokens * sum(self._fraction[name] for name in names)

    def _record(self, x: Tensor) -> Tensor | None:
        """Keep what o reads, and let it run on no token: `_products` computes its output."""
        if self._running is None:
            return None
        self._attention_output = x
        return x[:, :0]

    def _check_structure(self) -> None:
        """No steps mask nothing but zeros: the error must be rounding."""
        [error] = self.errors([(0,) * len(self._position)])
        allowed = _SAME_BLOCK.get(self._target.dtype, max(_SAME_BLOCK.values()))
        if not error <= allowed:
            raise UserError(
                "Greedy allocation needs decoder layers that are x + attention(x), then x + mlp(x), normed as listed",
                found=f"a dense output that differs from the model's own by {error:.2g} (relative)",
                where=f"{type(self._layer).__name__} of the model",
                remedy="use `allocation: uniform` with this family",
            )
