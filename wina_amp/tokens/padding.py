"""Right-padded batches of token ids.

Under causal attention no token sees the padding behind it, so the padding may be any id and needs no attention mask;
lengths say which tokens count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def right_padded(
    sequences: Sequence[Sequence[int]], pad: int = 0
) -> tuple[Int[Tensor, "batch width"], Int[Tensor, " batch"]]:
    """Sequences as one int64 tensor on the CPU, as wide as the longest, and the length of each.

    Args:
        sequences: at least one.
        pad: the value behind the end of a shorter sequence.
    """
    rows = [torch.tensor(sequence, dtype=torch.int64) for sequence in sequences]
    return pad_sequence(rows, batch_first=True, padding_value=pad), torch.tensor([len(row) for row in rows])
