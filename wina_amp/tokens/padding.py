"""Right-padded batches of token ids.

Under causal attention no token sees the padding behind it, so the padding may be any id and needs no attention mask;
lengths say which tokens count.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence


def right_padded(
    sequences: Sequence[Sequence[int]], padding: int = 0, width: int = 0
) -> tuple[Int[Tensor, "batch width"], Int[Tensor, " batch"]]:
    """Sequences as one int64 tensor on the CPU, as wide as the longest and `width`, and the length of each.

    Args:
        sequences: at least one.
        padding: the value behind the end of a shorter sequence.
        width: tokens of a row, at least.
    """
    rows = [torch.tensor(sequence, dtype=torch.int64) for sequence in sequences]
    padded = pad_sequence(rows, batch_first=True, padding_value=padding)
    missing = max(0, width - padded.shape[1])
    return pad(padded, (0, missing), value=padding), torch.tensor([len(row) for row in rows])
