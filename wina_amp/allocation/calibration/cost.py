"""The cost of an allocation: tokens through the model and losses computed; interrupted or not.

The unit of work is one token through the whole model, so that allocators that run single blocks, or parts of blocks,
can be compared with those that run all of it:

    tokens = sum over runs of  tokens in the run * (weights multiplied / weights of all projections)

Padding counts, because it runs. A forward pass that autograd records counts twice: its backward pass costs another.
Attention, norms and the output head are not counted, nor are passes of the dense model over the calibration
texts: each process that shares the work makes its own, no more than one pass over every text.

Work that a crash threw away is not counted, and stored values are counted with their cost when they were made
(`MeteredStore`): the total is that of one uninterrupted run. Tokens are exact fractions, so a total does not depend on
the order of its additions either. Seconds are not here: no two runs agree in them, and tables of equal runs are equal
bytes. Every stage logs how long it took.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

if TYPE_CHECKING:
    from torch import nn

WITH_BACKWARD = 2
"""Forward passes that a forward and a backward pass count as. Weights are frozen here: a backward pass has one product,
by the inputs, for every one of the forward pass."""

WHOLE = Fraction(1)
"""Of the projections' weights."""


def weight_fractions(weights: Sequence[int]) -> Float[ndarray, " projections"]:
    """Weights of every projection over those of all."""
    return np.array(weights, dtype=np.float64) / sum(weights)


@dataclass(frozen=True)
class Cost:
    """Work done: `tokens` through the whole model, losses computed (`evaluations`)."""

    tokens: Fraction = Fraction(0)
    evaluations: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.tokens + other.tokens, self.evaluations + other.evaluations)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.tokens - other.tokens, self.evaluations - other.evaluations)

    def columns(self) -> dict[str, float]:
        """The columns of `allocation_costs`."""
        return {"tokens": float(self.tokens), "evaluations": self.evaluations}

    def to_json(self) -> dict[str, Any]:
        """Plain values by name, exact."""
        return {"tokens": str(self.tokens), "evaluations": self.evaluations}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The cost that `to_json` was called on."""
        return cls(Fraction(values["tokens"]), values["evaluations"])


class Meter:
    """Counts work from its creation on, in `cost`."""

    def __init__(self) -> None:
        self.cost = Cost()
        self._counting = True

    def ran(self, tokens: int | Fraction, fraction: Fraction = WHOLE) -> None:
        """`tokens` went through a part of the model that holds this fraction of the projections' weights."""
        if self._counting:
            self.cost += Cost(tokens * fraction)

    def spent(self, cost: Cost) -> None:
        """Another process has done this work."""
        self.cost += cost

    @contextmanager
    def uncounted(self) -> Generator[None]:
        """Tokens that run inside do not count."""
        before, self._counting = self._counting, False
        try:
            yield
        finally:
            self._counting = before

    def evaluated(self, losses: int) -> None:
        """So many losses or block errors were computed."""
        self.cost += Cost(evaluations=losses)

    @contextmanager
    def watching(self, layers: nn.ModuleList) -> Generator[Self]:
        """Count every call of a decoder layer; all of them together are the model. No hook is left afterwards."""

        def after(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            result = output[0] if isinstance(output, tuple) else output
            passes = WITH_BACKWARD if result.requires_grad else 1
            self.ran(passes * hidden.shape[0] * hidden.shape[1], Fraction(1, len(layers)))

        with ExitStack() as hooks:
            for layer in layers:
                hooks.callback(layer.register_forward_hook(after, with_kwargs=True).remove)
            yield self


class Store(Protocol):
    """Keeps JSON values by name, over interruptions."""

    def get(self, name: str, /) -> Any:
        """The value, or None."""
        ...

    def put(self, name: str, value: Any, /) -> None:
        """Keep a value, in place of an earlier one."""
        ...


class MeteredStore:
    """A store that keeps every value together with its cost: the work since the last `put`, added to the cost of an
    earlier value of that name.

    Guarantee: `cost` is that of all values put or found here, each counted once, however often the work was
    interrupted between two of them.
    """

    def __init__(self, store: Store, meter: Meter) -> None:
        self._store, self._meter = store, meter
        self._last = meter.cost
        self._costs: dict[str, Cost] = {}

    @property
    def cost(self) -> Cost:
        """The cost of the values that were put or found."""
        return sum(self._costs.values(), Cost())

    def get(self, name: str) -> Any:
        """The value, or None."""
        stored = self._store.get(name)
        if stored is None:
            return None
        self._costs[name] = Cost.from_json(stored["cost"])
        return stored["value"]

    def leave_out(self) -> None:
        """Count the work since the last `put` for no value: loading a model, say."""
        self._last = self._meter.cost

    def put(self, name: str, value: Any) -> None:
        """Keep a value, in place of an earlier one."""
        now = self._meter.cost
        self._costs[name] = self._costs.get(name, Cost()) + (now - self._last)
        self._last = now
        self._store.put(name, {"value": value, "cost": self._costs[name].to_json()})
