"""Everything that `generate()` and a forward pass of transformers can be asked for works on a sparse model, as the
reference masks say, or is refused before the first pass. docs/usage.md has the same as a table."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec
from threading import Thread
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from torch import Tensor
from torch._dynamo.exc import Unsupported
from transformers import DynamicCache, PreTrainedModel, StaticCache, TextIteratorStreamer, pipeline

from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from tests.wina_amp.profile_set.sets import DENSE_PREFIX, profile_set
from wina_amp.decode import backends
from wina_amp.errors import UserError
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import sparsify_

TOLERANCE = 1e-4
"""Of the largest logit: float32 sums in another order."""

WIDTH, STEPS = 8, 6
IDS = torch.randint(3, 64, (2, WIDTH), generator=torch.Generator().manual_seed(41))
MASK = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1], [1] * WIDTH])
GREEDY = {"max_new_tokens": STEPS, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def _reference(loaded: LoadedModel, made: ProfileSet, row: Tensor, group: int, dense: tuple[int, ...] = ()) -> Tensor:
    """Logits of every token of one sequence under the reference masks, from one pass without a cache.

    Args:
        loaded: the model, dense.
        made: its profile set.
        row: the tokens, without padding.
        group: of the sequence.
        dense: columns that are not masked, besides the dense prefix.
    """
    eligible = torch.arange(len(row))[None] >= DENSE_PREFIX
    eligible[0, list(dense)] = False
    installed = install(loaded, "wina", made.at(0.5))
    with torch.inference_mode(), installed as runtime, runtime.rows(torch.tensor([group]), eligible):
        return loaded.model(input_ids=row[None], use_cache=False).logits[0]


def _assert_greedy(
    loaded: LoadedModel, made: ProfileSet, row: Tensor, group: int, width: int, dense: tuple[int, ...] = ()
) -> None:
    """The tokens behind `width` are the likeliest ones under the reference masks, and others than the dense model's."""
    logits = _reference(loaded, made, row, group, dense)
    assert row[width:].tolist() == logits[width - 1 : -1].argmax(dim=-1).tolist()
    with torch.inference_mode():
        unmasked = loaded.model(input_ids=row[None], use_cache=False).logits[0]
    assert (logits - unmasked).abs().max() > 100 * TOLERANCE * unmasked.abs().max()


def _assert_close(logits: Tensor, wanted: Tensor) -> None:
    assert (logits - wanted).abs().max() < TOLERANCE * wanted.abs().max()


def _group(sparsity: Any, row: int = 0) -> int:
    return int(sparsity.groups[row])


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("router", [None, "embedding", "scores"])
def test_the_logits_of_a_forward_pass_are_those_of_the_reference_masks(
    tiny_loaded: LoadedModel, side: str, router: str | None
):
    made, mask = profile_set(tiny_loaded, router), MASK if side == "left" else MASK.flip(1)
    with sparsify_(tiny_loaded, made) as sparsity:
        output = tiny_loaded.model(input_ids=IDS, attention_mask=mask, labels=IDS.masked_fill(mask == 0, -100))
    assert not output.logits.requires_grad and torch.isfinite(output.loss)
    for row in range(2):
        is_token = mask[row].bool()
        wanted = _reference(tiny_loaded, made, IDS[row][is_token], _group(sparsity, row))
        _assert_close(output.logits[row][is_token], wanted)


def test_a_forward_pass_has_no_gradients_and_prefill_decides_on_its_masks(tiny_loaded: LoadedModel):
    model = copy.deepcopy(tiny_loaded.model).requires_grad_(True)
    dense = model(IDS[:1]).logits
    with sparsify_(model, profile_set(tiny_loaded)):
        logits = model(IDS[:1]).logits
    assert dense.requires_grad and not logits.requires_grad and not torch.equal(logits, dense)
    with sparsify_(model, profile_set(tiny_loaded), prefill="dense"):
        assert torch.equal(model(IDS[:1]).logits, dense)


@pytest.mark.parametrize("options", [{"return_dict": False}, {"output_hidden_states": True}, {"logits_to_keep": 1}])
def test_the_options_of_a_forward_pass_work(tiny_loaded: LoadedModel, options: dict[str, Any]):
    made, model = profile_set(tiny_loaded), copy.deepcopy(tiny_loaded.model)  # transformers leaves hooks behind
    with sparsify_(model, made) as sparsity:
        output = model(IDS[:1], **options)
    logits = output[0] if isinstance(output, tuple) else output.logits
    wanted = _reference(tiny_loaded, made, IDS[0], _group(sparsity))
    _assert_close(logits[0], wanted[-logits.shape[1] :])


@pytest.mark.parametrize("prefill", ["sparse", "dense"])
@pytest.mark.parametrize("kind", ["new", "given", "static", "tuple"])
def test_a_decode_loop_of_forward_passes_is_a_generation(tiny_loaded: LoadedModel, kind: str, prefill):
    made, model = profile_set(tiny_loaded), tiny_loaded.model
    with sparsify_(tiny_loaded, made, prefill=prefill) as sparsity:
        wanted = model.generate(IDS, attention_mask=MASK, **GREEDY)
        groups = sparsity.groups
        cache = {"given": DynamicCache(), "static": StaticCache(config=model.config, max_cache_len=20)}.get(kind)
        ids, mask, rows = IDS, MASK, IDS
        for _ in range(STEPS):
            given = {"attention_mask": mask, "past_key_values": cache, "return_dict": kind != "tuple"}
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            output = model(ids, position_ids=positions, **given)
            logits, cache = output[:2] if kind == "tuple" else (output.logits, output.past_key_values)
            ids = logits[:, -1:].argmax(dim=-1)
            rows, mask = torch.cat([rows, ids], dim=1), torch.cat([mask, torch.ones(2, 1, dtype=torch.int64)], dim=1)
            assert torch.equal(sparsity.groups, groups)
    assert torch.equal(rows, wanted)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"input_ids": IDS}, "Several prompts need an attention mask", id="several rows without a mask"),
        pytest.param(
            {"input_ids": IDS[:1], "position_ids": torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]])},
            "must hold one sequence",
            id="packed sequences",
        ),
        pytest.param(
            {"inputs_embeds": torch.zeros(1, 4, 32)}, r"as token ids .* Found: `inputs_embeds`.*group=", id="embeddings"
        ),
        pytest.param({}, r"must be token ids.* Found: NoneType", id="nothing"),
        pytest.param(
            {"input_ids": IDS, "attention_mask": torch.ones(2, 1, 8, 8)}, r"Found: \[2, 1, 8, 8\]", id="a 4D mask"
        ),
    ],
)
def test_a_forward_pass_that_cannot_be_routed_is_refused(tiny_loaded: LoadedModel, given, message: str):
    with sparsify_(tiny_loaded, profile_set(tiny_loaded)), pytest.raises(UserError, match=message):
        tiny_loaded.model(**given)


def test_a_cache_of_the_dense_model_needs_the_choice_of_the_group(tiny_loaded: LoadedModel):
    model, cache = tiny_loaded.model, DynamicCache()
    with torch.inference_mode():
        model(IDS[:1, :4], past_key_values=cache)
    refusal = pytest.raises(UserError, match=r"from their beginning.* a cache of 4 tokens of other calls.*group=")
    with sparsify_(tiny_loaded, profile_set(tiny_loaded)), refusal:
        model(IDS[:1, 4:], past_key_values=cache)
    made = profile_set(tiny_loaded)
    with sparsify_(tiny_loaded, made, group=1):
        logits = model(IDS[:1, 4:], past_key_values=cache).logits[0]
    _assert_close(logits, _reference(tiny_loaded, made, IDS[0], 1, dense=(0, 1, 2, 3))[4:])


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="greedy"),
        pytest.param({"use_cache": False}, id="use_cache=False"),
        pytest.param({"prefill_chunk_size": 3}, id="chunked prefill"),
        pytest.param({"prefill_chunk_size": 1}, id="chunks of one token"),
        pytest.param({"cache_implementation": "static"}, id="a static cache"),
        pytest.param({"cache_implementation": "hybrid"}, id="a hybrid cache"),
        pytest.param({"prompt_lookup_num_tokens": 3}, id="prompt lookup"),
        pytest.param({"num_beams": 1, "num_return_sequences": 1}, id="one beam"),
        pytest.param({"top_k": 1, "temperature": 0.5, "do_sample": True}, id="sampling"),
        pytest.param({"assistant_early_exit": 1}, id="the first blocks as assistant"),
        pytest.param({"return_dict_in_generate": True, "output_scores": True}, id="scores"),
        pytest.param({"repetition_penalty": 1.0, "bad_words_ids": [[1]]}, id="processors"),
        pytest.param({"custom_generate": "greedy"}, id="a loop of the caller's"),
    ],
)
@pytest.mark.parametrize("prefill", ["sparse", "dense"])
def test_generate_gives_the_tokens_of_the_reference_masks(tiny_loaded: LoadedModel, options: dict[str, Any], prefill):
    made = profile_set(tiny_loaded)
    if "custom_generate" in options:
        options = {"custom_generate": lambda model, *args, **kw: model._sample(*args, **kw)}
    with sparsify_(tiny_loaded, made, prefill=prefill) as sparsity:
        output = tiny_loaded.model.generate(IDS[1:], **(GREEDY | options))
    row = (output if isinstance(output, Tensor) else output.sequences)[0]
    dense = tuple(range(WIDTH)) if prefill == "dense" else ()
    _assert_greedy(tiny_loaded, made, row, _group(sparsity), WIDTH, dense)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_family_goes_back_runs_anew_and_goes_on(kind: str):
    """Prompt lookup, no cache, and a second turn on the cache of the first."""
    loaded, cache = random_model(kind), DynamicCache()
    made, model = profile_set(loaded), loaded.model
    with sparsify_(loaded, made) as sparsity:
        lookup = model.generate(IDS[1:], **GREEDY, prompt_lookup_num_tokens=3)
        uncached = model.generate(IDS[1:], **GREEDY, use_cache=False)
        first = model.generate(IDS[1:], **GREEDY, past_key_values=cache)
        ids = torch.cat([first, IDS[:1]], dim=1)
        second = model.generate(ids, **GREEDY, past_key_values=cache)
        group = _group(sparsity)
    assert torch.equal(lookup, uncached) and torch.equal(lookup, first)
    _assert_greedy(loaded, made, first[0], group, WIDTH)
    _assert_greedy(loaded, made, second[0], group, ids.shape[1])


def _assistant(loaded: LoadedModel) -> PreTrainedModel:
    """A model that guesses what the dense model says, so that some guesses are accepted and others are not."""
    return copy.deepcopy(loaded.model)


@pytest.mark.parametrize("which", ["the model", "the assistant", "both"])
def test_assisted_generation_works(tiny_loaded: LoadedModel, which: str):
    made, assistant = profile_set(tiny_loaded), _assistant(tiny_loaded)
    given = {**GREEDY, "assistant_model": assistant}
    if which == "the assistant":
        with sparsify_(assistant, made):
            row = tiny_loaded.model.generate(IDS[1:], **given)
        assert torch.equal(row, tiny_loaded.model.generate(IDS[1:], **GREEDY))
        return
    sparse_assistant = sparsify_(assistant, made) if which == "both" else None
    with sparsify_(tiny_loaded, made) as sparsity:
        row = tiny_loaded.model.generate(IDS[1:], **given)[0]
    if sparse_assistant is not None:
        sparse_assistant.remove()
    _assert_greedy(tiny_loaded, made, row, _group(sparsity), WIDTH)


@pytest.mark.parametrize("prefill", ["sparse", "dense"])
@pytest.mark.parametrize("kind", ["given", "returned", "static"])
def test_the_next_turn_of_a_conversation_has_the_profile_of_the_first(tiny_loaded: LoadedModel, kind: str, prefill):
    made, model = profile_set(tiny_loaded), tiny_loaded.model
    cache = {"given": DynamicCache(), "static": StaticCache(config=model.config, max_cache_len=40)}.get(kind)
    with sparsify_(tiny_loaded, made, prefill=prefill) as sparsity:
        first = model.generate(IDS[1:], **GREEDY, past_key_values=cache, return_dict_in_generate=True)
        group = _group(sparsity)
        cache = first.past_key_values
        assert cache.get_seq_length() == WIDTH + STEPS - 1
        # Turns whose own routes would differ.
        turns = [torch.full((1, 5), token) for token in (5, 9, 30, 41, 50)]
        routes = [int(sparsity.route(torch.cat([first.sequences, t], 1), torch.ones(1, 19))) for t in turns]
        turn = next((t for t, route in zip(turns, routes, strict=True) if route != group), turns[0])
        ids = torch.cat([first.sequences, turn], dim=1)
        row = model.generate(ids, **GREEDY, past_key_values=cache)[0]
        assert _group(sparsity) == group
    width = ids.shape[1]
    prompts = (*range(WIDTH), *range(WIDTH + STEPS, width)) if prefill == "dense" else ()
    # The last token of the first turn is run with the second one, as a part of its prompt.
    last = (WIDTH + STEPS - 1,) if prefill == "dense" else ()
    _assert_greedy(tiny_loaded, made, row, group, width, prompts + last)


def test_a_cache_continued_by_others_or_from_its_middle_is_refused(tiny_loaded: LoadedModel):
    model, cache = tiny_loaded.model, DynamicCache()
    with sparsify_(tiny_loaded, profile_set(tiny_loaded)):
        row = model.generate(IDS[1:], **GREEDY, past_key_values=cache)
        with pytest.raises(UserError, match=r"must hold the whole conversation.* 5 tokens, and a cache of 13"):
            model.generate(row[:, -5:], **GREEDY, past_key_values=cache)
        two = row.repeat(2, 1)
        with pytest.raises(UserError, match=r"by the 1 sequences that it holds\. Found: 2 prompts"):
            model.generate(two, attention_mask=torch.ones_like(two), **GREEDY, past_key_values=cache)


def test_a_cache_that_the_dense_model_filled_is_continued(tiny_loaded: LoadedModel):
    made, model, cache = profile_set(tiny_loaded), tiny_loaded.model, DynamicCache()
    with torch.inference_mode():
        model(IDS[1:, :4], past_key_values=cache)
    with sparsify_(tiny_loaded, made) as sparsity:
        row = model.generate(IDS[1:], **GREEDY, past_key_values=cache)[0]
    _assert_greedy(tiny_loaded, made, row, _group(sparsity), WIDTH, (0, 1, 2, 3))


def test_streamers_get_the_tokens_also_in_a_thread_of_their_own(tiny_loaded: LoadedModel):
    model, tokenizer = tiny_loaded.model, tiny_loaded.tokenizer
    with sparsify_(tiny_loaded, profile_set(tiny_loaded)):
        wanted = tokenizer.decode(model.generate(IDS[1:], **GREEDY)[0, WIDTH:])
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=20)
        thread = Thread(target=model.generate, kwargs={"input_ids": IDS[1:], **GREEDY, "streamer": streamer})
        thread.start()
        assert "".join(streamer) == wanted
        thread.join(20)


@pytest.mark.parametrize("is_chat", [False, True])
def test_a_pipeline_of_transformers_and_chat_work(tiny_loaded: LoadedModel, is_chat: bool):
    made, tokenizer = profile_set(tiny_loaded), copy.deepcopy(tiny_loaded.tokenizer)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    text: Any = [{"role": "user", "content": "a b c d e"}] if is_chat else "a b c d e"
    with sparsify_(tiny_loaded, made) as sparsity:
        pipe = pipeline("text-generation", model=tiny_loaded.model, tokenizer=tokenizer)
        output = pipe(text, max_new_tokens=STEPS, do_sample=False, return_tensors=True)
        row = torch.tensor(output[0]["generated_token_ids"])
        group = _group(sparsity)
    _assert_greedy(tiny_loaded, made, row, group, len(row) - STEPS)


@pytest.mark.parametrize("is_given_ids", [False, True])
def test_embeddings_of_a_prompt_work_where_nothing_is_routed(tiny_loaded: LoadedModel, is_given_ids: bool):
    made, model = profile_set(tiny_loaded), tiny_loaded.model
    embedded = model.get_input_embeddings()(IDS[1:])
    given = {"inputs_embeds": embedded} | ({"input_ids": IDS[1:]} if is_given_ids else {})
    for choice, each in (({"group": 1}, made), ({}, profile_set(tiny_loaded, None))):
        with sparsify_(tiny_loaded, each, **choice):
            wanted = model.generate(IDS[1:], **GREEDY)
            assert torch.equal(model.generate(**given, **GREEDY)[0, -STEPS:], wanted[0, -STEPS:])
    with sparsify_(tiny_loaded, made), pytest.raises(UserError, match=r"`inputs_embeds`.*group="):
        model.generate(**given, **GREEDY)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda model: model.generate_batch([[5, 6, 7]]), "row of its own.* continuous batching", id="generate_batch"
        ),
        pytest.param(lambda model: model.init_continuous_batching(), "continuous batching", id="continuous batching"),
        pytest.param(lambda model: model.generate(IDS[1:], guidance_scale=1.5), "`guidance_scale=1.5`", id="guidance"),
        pytest.param(lambda model: model.model(IDS[1:]), "must be run by the model", id="the decoder alone"),
    ],
)
def test_what_a_sparse_model_cannot_do_is_refused(
    tiny_loaded: LoadedModel, call: Callable[[PreTrainedModel], object], message: str
):
    with sparsify_(tiny_loaded, profile_set(tiny_loaded)), pytest.raises(UserError, match=message):
        call(tiny_loaded.model)


def test_autocast_runs_the_masks_of_dense_products_and_says_so(tiny_loaded: LoadedModel):
    made, model = profile_set(tiny_loaded), tiny_loaded.model
    autocast = torch.autocast("cpu", dtype=torch.bfloat16)
    options = {**GREEDY, "output_logits": True, "return_dict_in_generate": True}
    with sparsify_(tiny_loaded, made) as sparsity, autocast:
        with pytest.warns(UserWarning, match="needs a call outside `torch.autocast`"):
            output = model.generate(IDS[1:], **options)
        group = _group(sparsity)
    with autocast:
        wanted = _reference(tiny_loaded, made, output.sequences[0], group)[WIDTH - 1 : -1]
    # One rounding to bfloat16 in another place than a pass over the whole sequence.
    assert (torch.cat(output.logits) - wanted).abs().max() < 0.1 * wanted.abs().max()
    with sparsify_(tiny_loaded, made, backend="numba"), autocast, pytest.raises(UserError, match="under autocast"):
        model.generate(IDS[1:], **GREEDY)


def test_offloaded_weights_are_refused_whenever_they_leave(tiny_loaded: LoadedModel):
    made, model = profile_set(tiny_loaded), copy.deepcopy(tiny_loaded.model)
    sparsity = sparsify_(model, made)
    offloaded = cpu_offload(model, execution_device=torch.device("cpu"))
    with pytest.raises(UserError, match="must keep its weights, their device"):
        offloaded.generate(IDS[1:], **GREEDY)
    with pytest.raises(UserError, match=r"taken off before the profile set.*remove_hook_from_module"):
        sparsity.remove()
    another = cpu_offload(copy.deepcopy(tiny_loaded.model), execution_device=torch.device("cpu"))
    with pytest.raises(UserError, match="weights that accelerate offloads"):
        sparsify_(another, made)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_compiled_before_or_after_is_refused(tiny_loaded: LoadedModel):
    made, model = profile_set(tiny_loaded), copy.deepcopy(tiny_loaded.model)
    compiled: Any = torch.compile(model, backend="eager")
    with pytest.raises(UserError, match=r"one that generates\. Found: OptimizedModule.*_orig_mod"):
        sparsify_(compiled, made)
    with sparsify_(model, made):
        tokens = model.generate(IDS[:1], **GREEDY)
        assert torch.equal(compiled.generate(IDS[:1], **GREEDY), tokens), "which calls the model itself"
        with pytest.raises(UserError, match=r"must not be compiled.* `torch\.compile`"):
            compiled(IDS[:1])
        torch._dynamo.reset()
        whole: Any = torch.compile(model, backend="eager", fullgraph=True)
        # torch turns what is raised while it traces into an error of its own, which quotes the line.
        with pytest.raises(Unsupported, match=r"raise _compiled\(\"`torch.compile`\"\)"):
            whole(IDS[:1])
    model.compile(backend="eager")
    with pytest.raises(UserError, match=r"must not be compiled.* `model\.compile\(\)`"):
        sparsify_(model, made)


def test_a_model_in_float16_says_that_it_saves_no_time_once(tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    # Where Triton is installed, tests run its kernels in its interpreter, in any dtype.
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "triton" else find_spec(name))
    model = copy.deepcopy(tiny_loaded.model).to(torch.float16)
    warning = pytest.warns(UserWarning, match="saves no time here: backend numba needs float32")
    with sparsify_(model, profile_set(tiny_loaded)), warning as warnings:
        for _ in range(3):
            model.generate(IDS[1:], **GREEDY)
    assert len(warnings) == 1 and warnings[0].filename == __file__
    with sparsify_(model, profile_set(tiny_loaded), backend="reference"):
        model.generate(IDS[1:], **GREEDY)


def test_beams_by_hand_of_another_number_of_rows_are_refused(tiny_loaded: LoadedModel):
    model, cache = tiny_loaded.model, DynamicCache()
    with sparsify_(tiny_loaded, profile_set(tiny_loaded)):
        model(IDS, attention_mask=MASK, past_key_values=cache)
        cache.batch_repeat_interleave(2)
        with pytest.raises(UserError, match=r"over the 2 sequences of its prompts\. Found: 4 sequences"):
            model(IDS[:, :1].repeat(2, 1), past_key_values=cache)


def test_what_is_no_cache_is_refused_by_transformers(tiny_loaded: LoadedModel):
    with (
        sparsify_(tiny_loaded, profile_set(tiny_loaded)),
        pytest.raises(ValueError, match="Passing a tuple"),
    ):
        tiny_loaded.model.generate(IDS[1:], past_key_values=(), **GREEDY)
