"""The sequences of one `generate()`, and which tokens the running pass covers.

Tokens are known by counting: the decoder sees the tokens of a sequence in order, whether a prompt comes whole, in
chunks, or is one token long. A pass over one token per sequence behind the prompt is a decode step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


@dataclass
class Sequences:
    """The sequences that are being generated, and the pass that is running.

    Attributes:
        groups: group of every sequence.
        prompt: prompt tokens that are masked.
        backend: name of the backend that runs decode steps.
        is_prompt_masked: whether any prompt token is masked.
        seen: tokens of every sequence up to and including this pass.
        is_step: whether this pass is a decode step.
        eligible: tokens of this pass that are masked, `[batch, width]`; None if it is dense or a decode step.
    """

    groups: Int[Tensor, " batch"]
    prompt: Bool[Tensor, "batch width"]
    backend: str
    is_prompt_masked: bool
    seen: int = 0
    is_step: bool = False
    eligible: Tensor | None = None

    def is_step_next(self, width: int) -> bool:
        """Whether a pass over the next `width` tokens is a decode step."""
        return self.seen >= self.prompt.shape[1] and width == 1

    def advance(self, width: int) -> None:
        """Begin a pass over the next `width` tokens of every sequence."""
        start, end = self.seen, self.prompt.shape[1]
        self.is_step = self.is_step_next(width)
        self.seen += width
        is_masked = (self.is_prompt_masked or self.seen > end) and not self.is_step
        if is_masked:
            behind = self.prompt.new_ones(len(self.prompt), max(self.seen - max(start, end), 0))
            self.eligible = torch.cat([self.prompt[:, start : self.seen], behind], dim=1)
        else:
            self.eligible = None
