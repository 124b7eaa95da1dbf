"""Whether a model that transformers has loaded is the whole checkpoint and nothing else, with finite weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from wina_amp.errors import UserError
from wina_amp.models.advice import FETCH

_REPORTED = (
    ("missing_keys", "hold every weight of the model", "missing"),
    ("mismatched_keys", "hold weights of the model's shapes", "of another shape (in the file, in the model)"),
    ("unexpected_keys", "hold the model's weights only", "that the model has no place for"),
    ("error_msgs", "be readable", "that cannot be read"),
)
"""What transformers reports beside a model that it loads all the same: entry, rule, and what it says of tensors.

It leaves out what is of no account, such as the rotary frequencies in old checkpoints and a tied `lm_head`."""


def check_report(report: Mapping[str, Any], path: str) -> None:
    """Refuse a model that is not the whole checkpoint, or has weights that came from nowhere, by the report of
    `from_pretrained(output_loading_info=True)`.

    Raises:
        UserError: tensors that are missing, too many, or of another shape; says how many and which.
    """
    for entry, rule, what in _REPORTED:
        tensors = sorted(map(str, report.get(entry) or ()))
        if tensors:
            found = f"{len(tensors)} {what}, for example {tensors[0]}"
            remedy = f"compare config.json (`num_hidden_layers`, sizes, biases) with the weights; {FETCH}"
            raise UserError(f"The weight files must {rule}", found=found, where=path, remedy=remedy)


def check_finite(model: PreTrainedModel, path: str) -> None:
    """Refuse NaN and infinity. The sum tells, without taking memory; where it overflows, every number is looked at.

    Raises:
        UserError: a weight is not finite; names it.
    """
    for name, weight in model.named_parameters():
        if not bool(weight.sum(dtype=torch.float32).isfinite()) and not bool(weight.isfinite().all()):
            raise UserError(
                "Every weight must be finite",
                found=f"NaN or infinity in {name}, loaded as {weight.dtype}",
                where=path,
                remedy="set `model.dtype` to bfloat16 or float32 (float16 overflows), or replace the checkpoint",
            )
