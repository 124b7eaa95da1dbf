"""A second model with the weights of the first: one can run sparse while the other stays dense."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from transformers import PreTrainedModel


def copy_sharing_weights(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model: modules are copied, weights and buffers are shared.

    One of the two can be run sparse while the other stays dense.
    """
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return deepcopy(model, shared)
