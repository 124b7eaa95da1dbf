"""Adam's moments (Kingma & Ba 2014), with one second moment for every parameter or for every group of parameters.

    m  <-  a m + (1 - a) g
    v  <-  b v + (1 - b) (mean of g^2 over the group)
    direction = (m / (1 - a^t)) / sqrt(v / (1 - b^t))          after t gradients g

With one second moment a parameter each it is Adam. With one for a group, a parameter has a direction of its own but
shares the scale, so parameters that hardly matter do not move as fast as those that do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.98
"""Decay of the moments: of the second faster than usual, for runs of 30 to 200 steps."""

_TINY = 1e-12


@dataclass(frozen=True)
class Moments:
    """The moments after `step` gradients.

    Attributes:
        step: gradients seen.
        first: mean gradient of every parameter, decaying.
        second: mean squared gradient of every parameter, or of every group of parameters, decaying.
    """

    step: int
    first: Float[ndarray, " parameters"]
    second: Float[ndarray, " scales"]

    @classmethod
    def start(cls, parameters: int, groups: int | None = None) -> Self:
        """Before the first gradient; without `groups`, every parameter has a second moment of its own."""
        return cls(0, np.zeros(parameters), np.zeros(parameters if groups is None else groups))

    def updated(
        self, gradient: Float[ndarray, " parameters"], owners: Int[ndarray, " parameters"] | None = None
    ) -> Moments:
        """The moments after one more gradient; `owners` is the group of every parameter, if there are groups."""
        squares = gradient**2
        if owners is not None:
            squares = np.bincount(owners, squares, minlength=len(self.second)) / np.bincount(owners)
        first = FIRST_MOMENT * self.first + (1 - FIRST_MOMENT) * gradient
        second = SECOND_MOMENT * self.second + (1 - SECOND_MOMENT) * squares
        return Moments(self.step + 1, first, second)

    def direction(self, owners: Int[ndarray, " parameters"] | None = None) -> Float[ndarray, " parameters"]:
        """The uphill step at learning rate 1, of about 1 in every parameter."""
        scale = np.sqrt(self.second / (1 - SECOND_MOMENT**self.step)) + _TINY
        return self.first / (1 - FIRST_MOMENT**self.step) / (scale if owners is None else scale[owners])

    def to_json(self) -> dict[str, Any]:
        """Plain lists, exact."""
        return {"step": self.step, "first": self.first.tolist(), "second": self.second.tolist()}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(stored["step"], np.array(stored["first"]), np.array(stored["second"]))
