"""`wina_amp.models.families`: every row is well formed, and an unknown family is refused by name."""

from __future__ import annotations

import pytest

from wina_amp.errors import UserError
from wina_amp.models.families import FAMILIES, PROJECTION_ORDER, SITES, family_of, refuse_experts


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_row_covers_every_map_of_a_gated_block_once(family):
    unfused = [name for linear in family.linear_maps for name in linear.slices or (linear.name,)]
    assert unfused == ["q", "k", "v", "o", "gate", "up", "down"]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_row_uses_canonical_names_in_canonical_order(family):
    names = [linear.name for linear in family.linear_maps]
    assert names == sorted(names, key=PROJECTION_ORDER.index)
    assert {linear.site for linear in family.linear_maps} == set(SITES)


def test_an_unknown_family_lists_the_known_ones():
    with pytest.raises(UserError, match=r"llama, mistral.*'lama'.*config\.json.*did you mean 'llama'"):
        family_of("lama")


@pytest.mark.parametrize(
    ("model_type", "name", "count"),
    [("mixtral", "num_local_experts", 8), ("qwen3_moe", "num_experts", 128), ("deepseek_v3", "n_routed_experts", 256)],
)
def test_a_mixture_of_experts_is_refused_with_the_reason(model_type, name, count):
    with pytest.raises(
        UserError, match=rf"must be dense.*differ from token to token.*{model_type} with `{name}: {count}`"
    ):
        refuse_experts({"model_type": model_type, name: count}, "config.json")
    refuse_experts({"model_type": "llama"}, "config.json")
    refuse_experts({"model_type": "phi3", "num_experts": 1}, "config.json")
