"""The sequences of one call, `generate()` or a forward pass, and which tokens the running pass covers.

A token is known by its column: the number of tokens of its row, padding included, that the key/value cache holds in
front of it. So a prompt may come whole, in chunks, anew in every pass (without a cache), or be gone back into (assisted
generation): the same token is treated the same. A pass over one token per sequence behind the prompt is a decode step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from wina_amp.decode.shared_input import Waiting


@dataclass
class Sequences:
    """The sequences of a call, and the pass that is running.

    Attributes:
        groups: group of every sequence.
        prompt: prompt tokens that are masked; tokens behind these columns always are.
        backend: name of the backend that runs decode steps.
        is_prompt_masked: whether any prompt token is masked.
        tally: None where nothing is counted.
        seen: tokens of every sequence up to and including this pass.
        is_step: whether this pass is a decode step.
        eligible: tokens of this pass that are masked, `[batch, width]`; None if it is dense or a decode step.
        waiting: products of this pass that no layer took yet.
    """

    groups: Int[Tensor, " batch"]
    prompt: Bool[Tensor, "batch width"]
    backend: str
    is_prompt_masked: bool
    tally: Tally | None = None
    seen: int = 0
    is_step: bool = False
    eligible: Tensor | None = None
    waiting: Waiting = field(default_factory=dict)

    def is_step_at(self, start: int, width: int) -> bool:
        """Whether a pass over `width` tokens from the column `start` is a decode step."""
        return start >= self.prompt.shape[1] and width == 1

    def begin(self, start: int, width: int) -> None:
        """Begin a pass over `width` tokens of every sequence, from the column `start`."""
        end = self.prompt.shape[1]
        self.is_step = self.is_step_at(start, width)
        self.seen = start + width
        self.waiting.clear()
        if self.is_step or not (self.is_prompt_masked or self.seen > end):
            self.eligible = None
        else:
            behind = self.prompt.new_ones(len(self.prompt), max(self.seen - max(start, end), 0))
            self.eligible = torch.cat([self.prompt[:, start : self.seen], behind], dim=1)
        if self.tally is not None:
            self.tally.offer(self.is_step, self.eligible)


class Tally:
    """Counts, on the device, of the inputs that eligible tokens of a call keep.

    Args:
        layers: number of projections.
        groups: of the sequences.

    Attributes:
        kept: inputs that eligible tokens kept, by projection and sequence.
        eligible: eligible tokens of every sequence.
    """

    def __init__(self, layers: int, groups: Int[Tensor, " batch"]) -> None:
        self.kept = groups.new_zeros(layers, len(groups))
        self.eligible = torch.zeros_like(groups)

    def offer(self, is_step: bool, eligible: Tensor | None) -> None:
        """Count the eligible tokens of a pass."""
        if is_step:
            self.eligible += 1
        elif eligible is not None:
            self.eligible += eligible.sum(dim=1)

    def add(self, other: Tally) -> None:
        """Add the counts of another call, of whatever sequences, to the first sequence's."""
        self.kept[:, 0] += other.kept.sum(dim=1)
        self.eligible[0] += other.eligible.sum()
