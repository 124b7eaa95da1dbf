"""`pipeline.evaluate.decoding`: decoding with a cache in a padded batch equals decoding one prompt in full."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from pipeline.compute.operations import attended
from pipeline.evaluate.decoding import Start, generate
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from pipeline.tasks.generation import Limits
from tests.reference.evaluation import decode, kept_by
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel

THRESHOLDS = torch.rand(3, 2, 7, generator=torch.Generator().manual_seed(6))


def _starts(stops: tuple[str, ...] = ()) -> list[Start]:
    rng = np.random.default_rng(7)
    return [
        Start(sample, sample % 3, rng.integers(4, 64, rng.integers(1, 15)).tolist(), Limits(stops, 3 + sample))
        for sample in range(7)
    ]


@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "masked"])
def test_texts_equal_those_of_full_passes(tiny_loaded: LoadedModel, is_sparse: bool):
    masks = install(tiny_loaded, "wina", THRESHOLDS) if is_sparse else nullcontext()
    with masks as runtime:
        with torch.inference_mode():
            found = generate(Engine(tiny_loaded, runtime, 1), _starts(), Tally(7, 14))
        for start, text in zip(_starts(), found, strict=True):
            tokens = decode(tiny_loaded, runtime, start.group, start.prompt, start.limits.most_tokens)
            assert text == tiny_loaded.tokenizer.decode(tokens, skip_special_tokens=True)
    assert len(set(found)) > 1


def test_counts_equal_those_of_full_passes(tiny_loaded: LoadedModel):
    tally = Tally(7, 14)
    with install(tiny_loaded, "wina", THRESHOLDS) as runtime:
        with torch.inference_mode():
            generate(Engine(tiny_loaded, runtime, 2), _starts(), tally)
        for start in _starts():
            case = (tiny_loaded, runtime, start.group, start.prompt)
            tokens = decode(*case, start.limits.most_tokens, 2)
            assert tally.work.kept[start.sample].tolist() == kept_by(*case, [tokens], 2).tolist()
            ran = len(start.prompt) + len(tokens) - 1
            assert tally.work.tokens[start.sample] == ran
            assert tally.work.attended[start.sample] == attended(0, ran)
            assert tally.work.predicted[start.sample] == len(tokens)


def test_a_text_ends_before_the_first_stop(tiny_loaded: LoadedModel):
    with torch.inference_mode():
        engine = Engine(tiny_loaded, None, 1)
        whole = generate(engine, _starts(), Tally(7, 14))
        stop = whole[-1].split()[1]
        tally = Tally(7, 14)
        cut = generate(engine, _starts((stop, "w999")), tally)
    assert stop in whole[-1] and cut == [text.partition(stop)[0] for text in whole]
    # The stop text is the second token decoded: the prompt ran, and one token behind it.
    assert tally.work.tokens[-1] == len(_starts()[-1].prompt) + 1
