"""`wina_amp.models.sharing`: the copy has the weights of the model, and stays dense while the model is sparse."""

from __future__ import annotations

import torch

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.models.load import LoadedModel
from wina_amp.models.sharing import copy_sharing_weights
from wina_amp.profile_set.sparsity import sparsify_

IDS = torch.tensor([[1, 5, 9, 13, 17]])


def test_a_copy_shares_every_weight_and_stays_dense_while_the_model_is_sparse(tiny_loaded: LoadedModel):
    other = copy_sharing_weights(tiny_loaded.model)
    ours = {name: tensor.data_ptr() for name, tensor in tiny_loaded.model.state_dict().items()}
    assert ours == {name: tensor.data_ptr() for name, tensor in other.state_dict().items()}
    assert all(first is not second for first, second in zip(tiny_loaded.model.modules(), other.modules(), strict=True))
    before = other(IDS).logits
    with sparsify_(tiny_loaded, profile_set(tiny_loaded, None), sparsity=0.5, backend="reference"):
        assert torch.equal(other(IDS).logits, before)
        assert not torch.equal(tiny_loaded.model(IDS).logits, before)
