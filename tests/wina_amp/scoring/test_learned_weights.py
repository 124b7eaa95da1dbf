"""`wina_amp.scoring.learned_weights`: weights come back from the model, leave it as it was, and wrong ones are
refused."""

from __future__ import annotations

import pytest
import torch

from tests.wina_amp.allocation.blocks import random_model
from wina_amp.errors import UserError
from wina_amp.models.projections import projections
from wina_amp.names import LEARNED
from wina_amp.scoring.criteria import column_norms, projection_weights
from wina_amp.scoring.learned_weights import attach, attached, detach, learned


def _weights(model, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {(each.block, each.name): torch.rand(each.in_features, generator=draw) for each in projections(model)}


def test_every_projection_scores_by_the_weights_that_were_attached():
    model = random_model("phi3").model
    weights = _weights(model)
    attach(model, weights)
    for projection in projections(model):
        assert torch.equal(projection_weights(LEARNED, projection), weights[projection.block, projection.name])
        assert torch.equal(projection_weights("wina", projection), column_norms(projection.module.weight))
    again = _weights(model, seed=1)
    attach(model, again)
    assert all(torch.equal(learned(each), again[each.block, each.name]) for each in projections(model))


def test_weights_are_on_no_checkpoint_and_follow_the_model():
    model = random_model("llama").model
    before = set(model.state_dict())
    attach(model, _weights(model))
    assert set(model.state_dict()) == before
    model.to("meta")
    assert all(learned(each).device.type == "meta" for each in projections(model))


def test_a_context_leaves_the_model_as_it_was_also_after_an_error():
    model = random_model("llama").model
    names = [set(dict(module.named_buffers())) for module in model.modules()]
    with pytest.raises(RuntimeError, match="stop"), attached(model, _weights(model)):
        learned(projections(model)[0])
        raise RuntimeError("stop")
    assert [set(dict(module.named_buffers())) for module in model.modules()] == names
    outer, inner = _weights(model), _weights(model, seed=1)
    attach(model, outer)
    with attached(model, inner):
        assert torch.equal(learned(projections(model)[3]), inner[0, "o"])
    assert torch.equal(learned(projections(model)[3]), outer[0, "o"])
    detach(model)
    with pytest.raises(UserError, match=r"must have its learned weights\. Found: none\. Where: block 0, projection q"):
        learned(projections(model)[0])


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (None, "none"),
        (torch.ones(31), r"a tensor of shape \[31\]"),
        (torch.full((32,), -1.0), "numbers that are negative, or not finite"),
        (torch.full((32,), torch.nan), "numbers that are negative, or not finite"),
    ],
)
def test_weights_of_another_model_are_refused(wrong, found):
    model = random_model("llama").model
    weights = _weights(model) | {(1, "up"): wrong}
    if wrong is None:
        del weights[1, "up"]
    with pytest.raises(UserError, match=rf"must be 32 numbers .* Found: {found}\. Where: block 1, projection up"):
        attach(model, weights)
