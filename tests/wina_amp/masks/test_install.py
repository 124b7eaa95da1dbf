"""`wina_amp.masks.install`: masks go on every projection, look groups up per row, and come off exactly."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM

from tests.reference.sparse import threshold_mask, topk_mask
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import Runtime, install
from wina_amp.masks.kinds import MASKS, mask_kind
from wina_amp.models.families import FAMILIES
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights

LENGTHS = torch.tensor([9, 4, 7])
IDS = torch.randint(4, 64, (3, 9), generator=torch.Generator().manual_seed(2))
COUNTED = eligible(LENGTHS, LENGTHS, 9, 1)
GROUPS = torch.tensor([1, 0, 1])


def _thresholds(groups: int = 2) -> torch.Tensor:
    return torch.rand(groups, 2, 7, generator=torch.Generator().manual_seed(3))


def _run(loaded: LoadedModel) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.model(input_ids=IDS).logits


def _hooks(loaded: LoadedModel) -> int:
    return sum(len(module._forward_pre_hooks) for module in loaded.model.modules())


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("criterion", ["teal", "wina"])
def test_values_of_zero_equal_the_dense_model_exactly(tiny_loaded: LoadedModel, criterion: str, kind: str):
    dense = _run(tiny_loaded)
    whole = COUNTED.sum(dim=1)  # any prompts will do
    with install(tiny_loaded, criterion, torch.zeros(2, 2, 7), kind) as runtime, runtime.rows(GROUPS, COUNTED, whole):
        sparse = _run(tiny_loaded)
    assert torch.equal(sparse, dense)


@pytest.mark.parametrize("criterion", ["teal", "wina"])
def test_every_projection_sees_the_mask_of_the_transcription(tiny_loaded: LoadedModel, criterion: str):
    thresholds = _thresholds()
    projs = projections(tiny_loaded.model)
    kept = []

    def transcribed(proj, column):
        weights = feature_weights(criterion, proj.module.weight, proj.name)

        def pre_hook(_module, inputs):
            masked, count = threshold_mask(inputs[0], weights, thresholds[GROUPS, proj.block, column], COUNTED)
            kept.append(count)
            return (masked,)

        return proj.module.register_forward_pre_hook(pre_hook)

    handles = [transcribed(proj, index % 7) for index, proj in enumerate(projs)]
    wanted = _run(tiny_loaded)
    for handle in handles:
        handle.remove()
    with install(tiny_loaded, criterion, thresholds) as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        logits = _run(tiny_loaded)
    assert torch.equal(logits, wanted)
    # Hooks ran in the order in which a block computes its projections, which is the canonical order.
    assert torch.equal(counts.kept, torch.stack(kept, dim=1))
    assert counts.tokens.tolist() == [8, 3, 6]
    assert 0 < counts.kept.sum() < (counts.tokens.sum() * sum(proj.in_features for proj in projs))


@pytest.mark.parametrize("criterion", ["teal", "wina"])
def test_every_projection_keeps_the_features_of_the_transcribed_topk(tiny_loaded: LoadedModel, criterion: str):
    sparsity = [[Fraction(group + 1, 4) + Fraction(i, 50) for i in range(14)] for group in range(2)]
    values = torch.tensor([[float(s) for s in group] for group in sparsity], dtype=torch.float64).reshape(2, 2, 7)
    projs = projections(tiny_loaded.model)
    kept = []

    def transcribed(proj, index):
        weights = feature_weights(criterion, proj.module.weight, proj.name)

        def pre_hook(_module, inputs):
            masked, count = topk_mask(inputs[0], weights, [sparsity[group][index] for group in GROUPS], COUNTED)
            kept.append(torch.tensor(count))
            return (masked,)

        return proj.module.register_forward_pre_hook(pre_hook)

    handles = [transcribed(proj, index) for index, proj in enumerate(projs)]
    wanted = _run(tiny_loaded)
    for handle in handles:
        handle.remove()
    with install(tiny_loaded, criterion, values, "topk") as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        logits = _run(tiny_loaded)
    assert torch.equal(logits, wanted)
    assert torch.equal(counts.kept, torch.stack(kept, dim=1))
    exact = [
        [int(proj.in_features * (1 - sparsity[group][index])) for index, proj in enumerate(projs)] for group in GROUPS
    ]
    assert torch.equal(counts.kept, torch.tensor(exact) * counts.tokens[:, None])


def test_fused_projections_are_masked_as_one(tiny_loaded: LoadedModel):
    config = Phi3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0
    )
    torch.manual_seed(0)
    fused = replace(tiny_loaded, model=Phi3ForCausalLM(config).eval(), family=FAMILIES["phi3"])
    dense = _run(fused)
    with install(fused, "wina", torch.zeros(2, 2, 4)) as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        assert torch.equal(_run(fused), dense)
    assert counts.kept.shape == (3, 8)
    with install(fused, "wina", torch.full((2, 2, 4), 0.01)) as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        assert not torch.equal(_run(fused), dense)
    widths = torch.tensor([proj.in_features for proj in projections(fused.model)])
    assert (counts.kept < counts.tokens[:, None] * widths).all()


def test_a_row_gets_the_same_output_alone_and_in_a_batch_of_other_groups(tiny_loaded: LoadedModel):
    with install(tiny_loaded, "wina", _thresholds()) as runtime:
        with runtime.rows(GROUPS, COUNTED):
            mixed = _run(tiny_loaded)
        with runtime.rows(torch.ones(3, dtype=torch.int64), COUNTED):
            uniform = _run(tiny_loaded)
    assert torch.equal(mixed[0], uniform[0]) and torch.equal(mixed[2], uniform[2])
    assert not torch.equal(mixed[1], uniform[1])


def test_the_model_is_restored_on_exit_and_after_an_error(tiny_loaded: LoadedModel):
    dense = _run(tiny_loaded)
    with install(tiny_loaded, "wina", _thresholds()):
        assert _hooks(tiny_loaded) == 14
    with pytest.raises(KeyError), install(tiny_loaded, "wina", _thresholds()):
        raise KeyError
    assert _hooks(tiny_loaded) == 0
    assert torch.equal(_run(tiny_loaded), dense)


def test_counts_add_up_over_the_forward_passes_of_one_context(tiny_loaded: LoadedModel):
    with install(tiny_loaded, "wina", _thresholds()) as runtime:
        with runtime.rows(GROUPS, COUNTED) as once:
            _run(tiny_loaded)
        with runtime.rows(GROUPS, COUNTED) as twice:
            _run(tiny_loaded)
            _run(tiny_loaded)
    assert torch.equal(twice.kept, 2 * once.kept)


def test_running_outside_rows_or_with_another_shape_is_refused(tiny_loaded: LoadedModel):
    with install(tiny_loaded, "wina", _thresholds()) as runtime:
        with pytest.raises(RuntimeError, match=r"inside `Runtime\.rows"):
            _run(tiny_loaded)
        refusal = pytest.raises(RuntimeError, match=r"declared as \(3, 5\), the input is \(3, 9\)")
        with refusal, runtime.rows(GROUPS, COUNTED[:, :5]):
            _run(tiny_loaded)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        (torch.zeros(2, 2, 6), r"must be \[groups, 2, 7\], got \[2, 2, 6\]"),
        (torch.full((1, 2, 7), float("nan")), "got nan for group 0, block 0, projection q"),
        (torch.full((1, 2, 7), -1.0), "got -1.0"),
    ],
)
def test_bad_thresholds_are_refused(tiny_loaded: LoadedModel, thresholds: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message), install(tiny_loaded, "wina", thresholds):
        pass
    assert _hooks(tiny_loaded) == 0


def test_a_sparsity_above_one_is_refused(tiny_loaded: LoadedModel):
    refusal = pytest.raises(ValueError, match=r"sparsity must be numbers in \[0, 1\], got 1.5 for group 0, block 0")
    with refusal, install(tiny_loaded, "wina", torch.full((1, 2, 7), 1.5), "topk"):
        pass


def test_a_group_without_a_profile_is_refused(tiny_loaded: LoadedModel):
    refusal = pytest.raises(ValueError, match=r"groups must be in \[0, 2\)")
    with install(tiny_loaded, "wina", _thresholds()) as runtime, refusal, runtime.rows(GROUPS + 1, COUNTED):
        pass


def test_inputs_of_two_types_and_one_width_do_not_share_memory():
    """As autocast makes them: norms in float32, products in bfloat16."""
    runtime = Runtime([mask_kind("threshold").build(torch.ones(4), torch.tensor([0.5]))] * 2, 1)
    first, second = torch.full((1, 2, 4), 2.0), torch.full((1, 2, 4), -3.0, dtype=torch.bfloat16)
    with runtime.rows(torch.zeros(1, dtype=torch.int64), torch.ones(1, 2).bool()):
        masked = runtime.hook(0)(first)
        assert torch.equal(runtime.hook(1)(second), second) and torch.equal(masked, first)
