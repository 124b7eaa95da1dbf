"""`pipeline.evaluate.decoding`: decoding with a cache in a padded batch equals decoding one prompt in full."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.compute.operations import attended
from pipeline.evaluate.decoding import GenerationRequest, generate
from pipeline.evaluate.ends import ends_of
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from pipeline.tasks.generation import Limits
from tests.reference.evaluation import decode, kept_by
from tests.wina_amp.allocation.blocks import random_model
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel

THRESHOLDS = torch.rand(3, 2, 7, generator=torch.Generator().manual_seed(6))


def _requests(stops: tuple[str, ...] = ()) -> list[GenerationRequest]:
    rng = np.random.default_rng(7)
    prompts = [rng.integers(4, 64, rng.integers(1, 15)).tolist() for _ in range(7)]
    return [
        GenerationRequest(sample, sample % 3, prompt, Limits(stops, 3 + sample))
        for sample, prompt in enumerate(prompts)
    ]


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "masked"])
def test_texts_equal_those_of_full_passes(tiny_loaded: LoadedModel, is_sparse: bool):
    masks = install(tiny_loaded, "wina", THRESHOLDS) if is_sparse else nullcontext()
    with masks as runtime:
        with torch.inference_mode():
            texts = generate(Engine(tiny_loaded, runtime, 1), _requests(), Tally(7, 14), ends_of(tiny_loaded))
        for request, text in zip(_requests(), texts, strict=True):
            tokens = decode(tiny_loaded, runtime, request.group, request.prompt, request.limits.max_tokens)
            assert text == tiny_loaded.tokenizer.decode(tokens, skip_special_tokens=True)
    assert len(set(texts)) > 1


@pytest.mark.tried("neighbours", "right")
@pytest.mark.parametrize("kind", ["mistral", "phi3 with longrope"])
def test_texts_up_to_the_context_are_those_of_full_passes_alone(tiny_loaded: LoadedModel, kind: str):
    """`mistral` has a window of 8 tokens, the other rotary embeddings that change at 17."""
    loaded, rng = replace(random_model(kind), tokenizer=tiny_loaded.tokenizer), np.random.default_rng(3)
    requests = [
        GenerationRequest(number, 0, rng.integers(4, 64, length).tolist(), Limits((), loaded.context - length))
        for number, length in enumerate((1, loaded.context - 1, loaded.context // 2))
    ]
    with torch.inference_mode():
        texts = generate(Engine(loaded, None, 1), requests, Tally(3, 0), ends_of(loaded))
    for request, text in zip(requests, texts, strict=True):
        tokens = decode(loaded, None, 0, request.prompt, request.limits.max_tokens)
        assert text == tiny_loaded.tokenizer.decode(tokens, skip_special_tokens=True)


def test_counts_equal_those_of_full_passes(tiny_loaded: LoadedModel):
    tally = Tally(7, 14)
    with install(tiny_loaded, "wina", THRESHOLDS) as runtime:
        with torch.inference_mode():
            generate(Engine(tiny_loaded, runtime, 2), _requests(), tally, ends_of(tiny_loaded))
        for request in _requests():
            case = (tiny_loaded, runtime, request.group, request.prompt)
            tokens = decode(*case, request.limits.max_tokens, 2)
            assert tally.work.kept[request.sample].tolist() == kept_by(*case, [tokens], 2).tolist()
            ran = len(request.prompt) + len(tokens) - 1
            assert tally.work.tokens[request.sample] == ran
            assert tally.work.attended[request.sample] == attended(0, ran)
            assert tally.work.predicted[request.sample] == len(tokens)


def test_a_text_ends_before_the_first_stop(tiny_loaded: LoadedModel):
    with torch.inference_mode():
        engine = Engine(tiny_loaded, None, 1)
        whole = generate(engine, _requests(), Tally(7, 14), ends_of(tiny_loaded))
        stop = whole[-1].split()[1]
        tally = Tally(7, 14)
        cut = generate(engine, _requests((stop, "w999")), tally, ends_of(tiny_loaded))
    assert stop in whole[-1] and cut == [text.partition(stop)[0] for text in whole]
    # The stop text is the second token decoded: the prompt ran, and one token behind it.
    assert tally.work.tokens[-1] == len(_requests()[-1].prompt) + 1
