"""`wina_amp.routing.prompt_router`: a router on a model gives the groups of the stage that fitted it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.routing.benefit_router_fit import fit_benefit_router
from tests.wina_amp.profile_set.sets import FACTS, profile_set
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.routing.prompt_router import PromptRouter
from wina_amp.routing.router import Router, embedding_features, neighbour_features

PROMPTS = [np.random.default_rng(number).integers(3, 64, 4 + number) for number in range(12)]


def test_the_embedding_router_names_the_most_probable_group(tiny_loaded: LoadedModel):
    router = profile_set(tiny_loaded).router
    groups = PromptRouter(router, FACTS["embedding"], tiny_loaded, 1)(PROMPTS)
    features = embedding_features(tiny_loaded.model.get_input_embeddings().weight, PROMPTS)
    assert groups.tolist() == router.probabilities(features).argmax(axis=1).tolist()
    assert set(groups.tolist()) == {0, 1}


def test_the_neighbours_router_reads_pairs_as_well(tiny_loaded: LoadedModel):
    features = neighbour_features(tiny_loaded.model.get_input_embeddings().weight, PROMPTS)
    generator = torch.Generator().manual_seed(0)
    router = Router(torch.randn(3, features.shape[1], generator=generator), torch.zeros(3))
    groups = PromptRouter(router, {"router": "neighbours"}, tiny_loaded, 1)(PROMPTS)
    assert groups.tolist() == router.probabilities(features).argmax(axis=1).tolist() and len(set(groups.tolist())) > 1


def test_a_gate_names_the_best_group_or_the_pooled_profile_behind_it(tiny_loaded: LoadedModel):
    """As the stage that fitted it says: by the largest of the groups' outputs and the margin, its last bias."""
    features = neighbour_features(tiny_loaded.model.get_input_embeddings().weight, PROMPTS)
    benefits = np.stack([features[:, 0], features[:, 1]], axis=1) * 10
    benefit = fit_benefit_router(features, benefits, seed=0)
    groups = PromptRouter(benefit.router, {"router": "benefit"}, tiny_loaded, 1)(PROMPTS)
    assert groups.tolist() == benefit.router.probabilities(features).argmax(axis=1).tolist()
    never = fit_benefit_router(features, -np.abs(benefits) - 1, seed=0)
    assert set(PromptRouter(never.router, {"router": "benefit"}, tiny_loaded, 1)(PROMPTS).tolist()) == {2}


def test_an_unknown_kind_is_refused(tiny_loaded: LoadedModel):
    with pytest.raises(
        UserError, match=r"kind of router must be one of benefit, embedding, neighbours, scores\. Found: 'embeding'"
    ):
        PromptRouter(profile_set(tiny_loaded).router, {"router": "embeding"}, tiny_loaded, 1)
