"""`generate()` with an installed profile set: the tokens of the reference masks in any batch, cache and padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import DynamicCache, GenerationConfig

from tests.wina_amp.allocation.blocks import CHANGING_ROPE, ROPE_CHANGES_AT, random_model
from tests.wina_amp.profile_set.sets import DENSE_PREFIX, profile_set
from wina_amp.decode.decoding import masked_prompt
from wina_amp.errors import UserError
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import sparsify_

TOLERANCE = 1e-4
"""Of the largest logit: float32 sums in another order, as in `tests/wina_amp/decode/test_decoding.py`."""

STEPS, WIDTH = 6, 8
LENGTHS = (8, 5, 3, 7, 6)
PROMPTS = [torch.randint(3, 64, (size,), generator=torch.Generator().manual_seed(40 + size)) for size in LENGTHS]
GREEDY = {"min_new_tokens": STEPS, "max_new_tokens": STEPS, "do_sample": False}


def _padded(side: str = "left") -> dict[str, torch.Tensor]:
    """The prompts as a tokenizer would give them."""
    ids, mask = (torch.zeros(len(PROMPTS), WIDTH, dtype=torch.int64) for _ in range(2))
    for row, prompt in enumerate(PROMPTS):
        columns = slice(WIDTH - len(prompt), WIDTH) if side == "left" else slice(0, len(prompt))
        ids[row, columns], mask[row, columns] = prompt, 1
    return {"input_ids": ids, "attention_mask": mask}


def _alone(row: int) -> dict[str, torch.Tensor]:
    ids = PROMPTS[row][None]
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _by_hand(
    loaded: LoadedModel, made: ProfileSet, prompt: torch.Tensor, group: int, *, is_prompt_masked: bool
) -> list[int]:
    """The tokens of one prompt by greedy search under the reference masks, pass by pass."""
    cache, ids, tokens = DynamicCache(), prompt[None], []
    eligible = masked_prompt(torch.ones_like(ids), DENSE_PREFIX) & is_prompt_masked
    with torch.inference_mode(), install(loaded, "wina", made.at(0.5)) as runtime:
        for _ in range(STEPS):
            with runtime.rows(torch.tensor([group]), eligible):
                logits = loaded.model(input_ids=ids, past_key_values=cache).logits[0, -1]
            end = loaded.model.generation_config.eos_token_id
            if end is not None and end < len(logits):
                logits[end] = -torch.inf  # `min_new_tokens` rules it out
            tokens.append(int(logits.argmax()))
            ids, eligible = torch.tensor([[tokens[-1]]]), torch.ones(1, 1, dtype=torch.bool)
    return tokens


@pytest.mark.parametrize("prefill", ["sparse", "dense"])
@pytest.mark.parametrize("router", [None, "embedding", "scores"])
def test_generate_gives_the_tokens_of_the_reference_masks(tiny_loaded: LoadedModel, router: str | None, prefill):
    made = profile_set(tiny_loaded, router)
    with sparsify_(tiny_loaded.model, made, sparsity=0.5, prefill=prefill) as sparse:
        sparse_tokens = tiny_loaded.model.generate(**_padded(), **GREEDY)[:, WIDTH:]
        groups = sparse.groups.tolist()
    assert set(groups) == ({0} if router is None else {0, 1})
    for row, (prompt, group) in enumerate(zip(PROMPTS, groups, strict=True)):
        wanted = _by_hand(tiny_loaded, made, prompt, group, is_prompt_masked=prefill == "sparse")
        assert sparse_tokens[row].tolist() == wanted
    dense = tiny_loaded.model.generate(**_padded(), **GREEDY)[:, WIDTH:]
    assert not torch.equal(sparse_tokens, dense), "thresholds that change nothing prove nothing"


LONGROPE, DYNAMIC = CHANGING_ROPE
LONG = torch.randint(3, 64, (3, ROPE_CHANGES_AT + 4), generator=torch.Generator().manual_seed(8))


@pytest.mark.tried("neighbours", "right")
@pytest.mark.parametrize(
    ("rows", "length"),
    [
        pytest.param(1, ROPE_CHANGES_AT - 3, id="a prompt that grows past the change"),
        pytest.param(1, ROPE_CHANGES_AT, id="a prompt that ends at the change"),
        pytest.param(1, ROPE_CHANGES_AT + 1, id="a prompt that begins behind it"),
        pytest.param(3, ROPE_CHANGES_AT - 3, id="three prompts that grow past it together"),
    ],
)
def test_sequences_grow_past_a_change_of_rotary_embeddings_as_in_transformers(rows: int, length: int):
    loaded = random_model(LONGROPE)
    model, ids = loaded.model, LONG[:rows, :length]
    made = replace(profile_set(loaded, None), thresholds=4 * profile_set(loaded, None).thresholds)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "eos_token_id": None}
    dense = model.generate(**given, **GREEDY)
    without = replace(made, thresholds=torch.zeros_like(made.thresholds))
    with sparsify_(model, without, sparsity=0.5) as sparse:
        assert torch.equal(sparse.model.generate(**given, **GREEDY), dense)
    with sparsify_(model, made, sparsity=0.5) as sparse:
        masked = sparse.model.generate(**given, **GREEDY)
    # Every token by a pass over the whole sequence.
    expected = ids
    with torch.inference_mode(), install(loaded, "wina", made.at(0.5)) as runtime:
        for _ in range(STEPS):
            eligible = torch.arange(expected.shape[1])[None] >= DENSE_PREFIX
            with runtime.rows(torch.zeros(rows, dtype=torch.int64), eligible.expand(rows, -1)):
                expected = torch.cat([expected, model(input_ids=expected).logits[:, -1:].argmax(dim=-1)], dim=1)
    assert torch.equal(masked, expected) and not torch.equal(masked, dense)


def _left_padded(*lengths: int) -> dict[str, torch.Tensor]:
    mask = torch.stack([torch.arange(max(lengths)) >= max(lengths) - length for length in lengths]).long()
    return {"input_ids": LONG[: len(lengths), : max(lengths)] * mask, "attention_mask": mask}


@pytest.mark.tried("neighbours", "right")
@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        pytest.param(LONGROPE, (3, ROPE_CHANGES_AT - STEPS), id="longrope, all before the change"),
        pytest.param(LONGROPE, (ROPE_CHANGES_AT + 1, ROPE_CHANGES_AT + 4), id="longrope, all behind it"),
        pytest.param(DYNAMIC, (3, ROPE_CHANGES_AT - STEPS), id="dynamic, all before the change"),
        pytest.param("mistral", (3, 20), id="a window of 8, a prompt inside it and one beyond"),
        pytest.param("gemma3_text", (3, 20), id="windows in some layers"),
    ],
)
def test_a_prompt_is_continued_in_a_batch_as_alone(kind: str, lengths: tuple[int, ...]):
    loaded, options = random_model(kind), {**GREEDY, "eos_token_id": None, "pad_token_id": 0}
    with sparsify_(loaded.model, profile_set(loaded, "scores"), sparsity=0.5) as sparse:
        together = sparse.model.generate(**_left_padded(*lengths), **options)
        for row, length in enumerate(lengths):
            prompt = LONG[row : row + 1, max(lengths) - length : max(lengths)]
            assert torch.equal(sparse.model.generate(prompt, **options)[0, -STEPS:], together[row, -STEPS:])


@pytest.mark.tried("neighbours", "refused")
@pytest.mark.parametrize(
    ("kind", "lengths"),
    [
        pytest.param(LONGROPE, (3, ROPE_CHANGES_AT + 1), id="longrope, a short and a long prompt"),
        pytest.param(LONGROPE, (3, ROPE_CHANGES_AT - STEPS + 1), id="longrope, one that grows past the change"),
        pytest.param(DYNAMIC, (3, ROPE_CHANGES_AT - STEPS + 1), id="dynamic, one that grows past the change"),
        pytest.param(DYNAMIC, (ROPE_CHANGES_AT,), id="dynamic, one alone, which would change what comes after it"),
    ],
)
@pytest.mark.parametrize("limit", ["max_new_tokens", "max_length", "generation_config", "default"])
def test_a_batch_in_which_one_prompt_would_change_another_is_refused(kind: str, lengths: tuple[int, ...], limit: str):
    loaded = random_model(kind)
    length = max(lengths) + (20 if limit == "default" else STEPS)
    options = {
        "default": {},
        "max_new_tokens": {"max_new_tokens": STEPS},
        "max_length": {"max_length": length},
        "generation_config": {"generation_config": GenerationConfig(max_new_tokens=STEPS)},
    }[limit]
    refusal = pytest.raises(UserError, match=rf"past {ROPE_CHANGES_AT} tokens.*rotary.*up to {length}.*fewer tokens")
    with sparsify_(loaded.model, profile_set(loaded, None), sparsity=0.5) as sparse, refusal:
        sparse.model.generate(**_left_padded(*lengths), **options)


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("router", ["embedding", "scores"])
def test_a_batch_of_mixed_groups_gives_every_prompt_its_own_tokens(tiny_loaded: LoadedModel, router: str, backend: str):
    options = {**GREEDY, "output_logits": True, "return_dict_in_generate": True}
    with sparsify_(tiny_loaded, profile_set(tiny_loaded, router), sparsity=0.5, backend=backend) as sparse:
        together = sparse.model.generate(**_padded(), **options)
        groups = sparse.groups.tolist()
        assert set(groups) == {0, 1}
        for row in range(len(PROMPTS)):
            alone = sparse.model.generate(**_alone(row), **options)
            assert sparse.groups.tolist() == groups[row : row + 1]
            assert torch.equal(alone.sequences[0, -STEPS:], together.sequences[row, -STEPS:])
            of_batch, of_prompt = (torch.stack(output.logits, dim=1) for output in (together, alone))
            assert (of_batch[row] - of_prompt[0]).abs().max() < TOLERANCE * of_prompt.abs().max()


@pytest.mark.parametrize("router", ["embedding", "scores"])
def test_padding_is_not_routed_on_either_side(tiny_loaded: LoadedModel, router: str):
    with sparsify_(tiny_loaded, profile_set(tiny_loaded, router), sparsity=0.5) as sparse:
        padded = [sparse.route(*_padded(side).values()).tolist() for side in ("left", "right")]
        alone = [int(sparse.route(*_alone(row).values())) for row in range(len(PROMPTS))]
    assert padded == [alone, alone]


def test_beams_and_several_samples_have_their_prompts_group(tiny_loaded: LoadedModel):
    """A group of beams that is alone in its batch finds the same sequences as in a batch of other groups."""
    options = {"max_new_tokens": STEPS, "num_beams": 3, "num_return_sequences": 2, "do_sample": False}
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), sparsity=0.5) as sparse:
        two = {name: value[:2] for name, value in _padded().items()}
        together = sparse.model.generate(**two, **options)
        assert len(together) == 4 and sparse.groups.shape == (2,)
        alone = sparse.model.generate(**{name: value[1:] for name, value in two.items()}, **options)
        width = min(alone.shape[1], together.shape[1])  # sequences that end early are cut to the longest
        assert torch.equal(alone[:, :width], together[2:, :width])
        sampled = sparse.model.generate(**two, do_sample=True, max_new_tokens=2, num_return_sequences=3)
        assert len(sampled) == 6


def test_a_configuration_of_the_callers_is_used_and_left_alone(tiny_loaded: LoadedModel):
    given = GenerationConfig(**GREEDY, pad_token_id=0, eos_token_id=2, bos_token_id=1)
    before = given.to_dict()
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), sparsity=0.5) as sparse:
        wanted = sparse.model.generate(**_padded(), **GREEDY)
        tokens = sparse.model.generate(_padded()["input_ids"], given, attention_mask=_padded()["attention_mask"])
    assert torch.equal(tokens, wanted) and given.to_dict() == before


def test_nothing_is_compiled_whoever_asks(tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    seen: list[object] = []

    def own(_ids, config, **options):
        seen.append(options.get("disable_compile") if config is None else config.disable_compile)

    monkeypatch.setattr(tiny_loaded.model, "generate", own)
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), sparsity=0.5) as sparse:
        sparse.model.generate(**_padded())
        sparse.model.generate(**_padded(), disable_compile=False)
        sparse.model.generate(**_padded(), generation_config=GenerationConfig(disable_compile=False))
    assert seen == [True, True, True]


def test_what_is_no_prompt_is_refused(tiny_loaded: LoadedModel):
    ids, mask = _padded().values()
    sparse = sparsify_(tiny_loaded, profile_set(tiny_loaded), sparsity=0.5)
    with sparse:
        with pytest.raises(UserError, match=r"prompts' shape, \[5, 8\]\. Found: \[2, 8\]"):
            sparse.model.generate(input_ids=ids, attention_mask=mask[:2])
        with pytest.raises(UserError, match="Several prompts need an attention mask"):
            sparse.model.generate(input_ids=ids)


def test_more_prompts_than_a_kernel_takes_need_the_choice_of_the_backend(tiny_loaded: LoadedModel):
    ids = torch.from_numpy(np.random.default_rng(0).integers(3, 64, (9, WIDTH)))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    refusal = pytest.raises(UserError, match=r"numba needs 1 to 8 tokens per call\. Found: 9")
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), sparsity=0.5, backend="numba") as sparse, refusal:
        sparse.model.generate(**given, **GREEDY)
    warning = pytest.warns(
        UserWarning, match="saves no time here: backend numba needs 1 to 8 tokens per call; the same"
    )
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), sparsity=0.5) as sparse, warning as warnings:
        for _ in range(2):
            assert sparse.model.generate(**given, **GREEDY).shape == (9, WIDTH + STEPS)
    assert len(warnings) == 1 and warnings[0].filename == __file__


@pytest.mark.tried("ends", "right")
@pytest.mark.parametrize(
    "end",
    [
        pytest.param("one", id="the id of generation_config"),
        pytest.param("several", id="several ids of generation_config"),
        pytest.param("given", id="ids that the caller gives"),
        pytest.param("criterion", id="a stopping criterion"),
    ],
)
def test_generation_ends_where_transformers_ends_it(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, end: str
):
    config, made = tiny_loaded.model.generation_config, profile_set(tiny_loaded)
    monkeypatch.setattr(config, "eos_token_id", None)
    options = {"max_new_tokens": STEPS, "do_sample": False}
    with sparsify_(tiny_loaded.model, made, sparsity=0.5) as sparse:
        endless = sparse.model.generate(**_alone(0), **options)[0, WIDTH:].tolist()
        last = endless[2]
        if end == "criterion":
            options |= {"stopping_criteria": [lambda ids, _scores, **_: ids[:, -1] == last]}
        elif end == "given":
            options |= {"eos_token_id": [3, last]}
        else:
            monkeypatch.setattr(config, "eos_token_id", last if end == "one" else [3, last])
        tokens = sparse.model.generate(**_alone(0), **options)[0, WIDTH:].tolist()
    assert tokens == endless[: endless.index(last) + 1] and len(tokens) < STEPS
