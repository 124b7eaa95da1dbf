"""`benchmarks.exported_sets`: prompts are padded in front, and routed by themselves whatever their batch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.exported_sets import padded, routed
from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.sparsity import sparsify_


def test_prompts_are_padded_in_front():
    ids, mask = padded([np.array([7, 8, 9]), np.array([5])])
    assert ids.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_the_batch_size_does_not_change_the_routes(tiny_loaded: LoadedModel):
    prompts = [np.random.default_rng(number).integers(3, 64, 4 + number) for number in range(7)]
    names = [f"t/test/{number}" for number in range(7)]
    samples = pd.DataFrame({"sample_id": names, "prompt_ids": prompts})
    table = pd.DataFrame({"sample_id": names[::-1], "group": range(7)})
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), sparsity=0.5) as sparse:
        singly, wanted = routed(sparse, samples, table, 1)
        assert wanted.tolist() == list(range(7))[::-1]
        assert singly.tolist() == routed(sparse, samples, table, 3)[0].tolist()
