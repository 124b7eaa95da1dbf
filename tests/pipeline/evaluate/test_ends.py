"""`pipeline.evaluate.ends`: an answer ends where it would in lm-eval and transformers."""

from __future__ import annotations

import copy
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from torch import nn
from transformers import PreTrainedModel

from pipeline.evaluate.decoding import GenerationRequest, generate
from pipeline.evaluate.ends import Ends, ends_of, not_applied
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from pipeline.tasks.generation import Limits
from wina_amp.models.load import LoadedModel

EOS, UNKNOWN = 2, 3
PROMPT = [1, 10]
LENGTH = 8


class Next(nn.Module):
    """In place of `lm_head`: the token with the next number, but for those of `after`.

    Blocks that add nothing leave the token's embedding, by which this knows it.
    """

    def __init__(self, table: torch.Tensor, after: dict[int, int]) -> None:
        super().__init__()
        self.after = after
        self.weight = nn.Parameter(table)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        token = (hidden @ self.weight.T).argmax(dim=-1)
        following = torch.tensor([self.after.get(number, number + 1) % 64 for number in range(64)])
        return nn.functional.one_hot(following[token], 64).float()


@contextmanager
def saying(loaded: LoadedModel, after: dict[int, int], eos: int | list[int] | None = None) -> Generator[LoadedModel]:
    """The tiny model, changed so that it says 11, 12, 13 ... behind the prompt, but for `after`."""
    model: Any = copy.deepcopy(loaded.model)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.zero_()
        layer.mlp.down_proj.weight.data.zero_()
    table = nn.functional.normalize(torch.randn(64, 32, generator=torch.Generator().manual_seed(1)))
    model.model.embed_tokens.weight.data.copy_(table)
    model.model.norm.weight.data.fill_(1.0)
    model.lm_head = Next(table, after)
    model.generation_config.eos_token_id = eos
    with torch.inference_mode():
        yield replace(loaded, model=model, tokenizer=copy.deepcopy(loaded.tokenizer))


def ours(loaded: LoadedModel, stops: Sequence[str], ends: Ends | None = None) -> str:
    request = GenerationRequest(0, 0, PROMPT, Limits(tuple(stops), LENGTH))
    return generate(Engine(loaded, None, 1), [request], Tally(1, 0), ends or ends_of(loaded))[0]


def lm_evals(model: PreTrainedModel, tokenizer: Any, stops: Sequence[str]) -> str:
    arguments = tokenizer.decode(PROMPT[1:]), {"until": list(stops), "max_gen_toks": LENGTH, "do_sample": False}
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", batch_size=1)
    return theirs.generate_until([Instance("generate_until", {}, arguments, 0)], disable_tqdm=True)[0]


@pytest.mark.tried("ends", "right")
@pytest.mark.parametrize(
    ("after", "eos", "stops", "words"),
    [
        pytest.param({}, None, [], 8, id="no end but the length"),
        pytest.param({}, 13, [], 3, id="the id of generation_config"),
        pytest.param({}, [60, 13], [], 3, id="one of several ids of generation_config"),
        pytest.param({12: EOS}, 60, [], 2, id="the tokenizer's EOS, which generation_config does not name"),
        pytest.param({12: UNKNOWN}, 60, ["<unk>"], 2, id="a stop text that is a special token"),
        pytest.param({12: UNKNOWN}, 60, ["w8 <unk>"], 2, id="a stop text that ends in a special token"),
        pytest.param({12: UNKNOWN, UNKNOWN: 14}, 60, ["w10"], 2, id="a stop text behind a special token"),
        pytest.param({12: UNKNOWN, UNKNOWN: 14}, 60, ["w8 w10"], 1, id="a stop text across a hidden special token"),
        pytest.param({}, 60, ["w9 w10"], 2, id="a stop text of two tokens"),
        pytest.param({}, 60, ["9"], 3, id="a stop text within a token"),
        pytest.param({}, 60, ["w7"], 0, id="a stop text at once"),
        pytest.param({}, 60, ["w11", "w9"], 2, id="the later of two stop texts first"),
        pytest.param({}, 60, ["w10", "9 w10"], 3, id="stop texts that overlap"),
    ],
)  # fmt: skip
def test_an_answer_ends_where_it_would_in_lm_eval(
    tiny_loaded: LoadedModel, after: dict[int, int], eos: int | list[int] | None, stops: list[str], words: int
):
    with saying(tiny_loaded, after, eos) as loaded:
        answer = ours(loaded, stops)
        assert answer == lm_evals(loaded.model, loaded.tokenizer, stops)
        assert len(answer.split()) == words


@pytest.mark.tried("ends", "right")
@pytest.mark.parametrize("missing", [pytest.param("eos_token", id="EOS"), pytest.param("pad_token", id="padding")])
def test_a_tokenizer_may_lack_the_tokens_that_end_and_fill(tiny_loaded: LoadedModel, missing: str):
    with saying(tiny_loaded, {}, 13) as loaded:
        setattr(loaded.tokenizer, missing, None)
        assert ours(loaded, []) == "w7 w8 w9"


@pytest.mark.tried("ends", "right")
@pytest.mark.parametrize(
    "turn_end", [pytest.param(14, id="a turn that ends in a word"), pytest.param(UNKNOWN, id="a special one")]
)
def test_in_a_chat_the_end_of_the_turn_ends_the_answer_and_is_not_part_of_it(tiny_loaded: LoadedModel, turn_end: int):
    with saying(tiny_loaded, {13: turn_end}, 60) as loaded:
        assert ours(loaded, [], ends_of(loaded, turn_end)).strip() == "w7 w8 w9"


@pytest.mark.tried("ends", "warned")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("repetition_penalty", 1.05, id="a repetition penalty"),
        pytest.param("num_beams", 4, id="beams"),
        pytest.param("guidance_scale", 1.5, id="guidance"),
        pytest.param("suppress_tokens", [3], id="suppressed tokens"),
        pytest.param("max_new_tokens", 2, id="a length"),
    ],
)
def test_what_generation_config_asks_for_and_is_not_applied_is_named(
    tiny_loaded: LoadedModel, name: str, value: object
):
    assert not_applied(tiny_loaded) == {}
    with saying(tiny_loaded, {}) as loaded:
        setattr(loaded.model.generation_config, name, value)
        assert not_applied(loaded) == {name: value}


@pytest.mark.tried("ends", "right")
@pytest.mark.parametrize(
    "stops", [pytest.param("w10", id="a text"), pytest.param(["w30", "9 w10"], id="several texts, one across tokens")]
)
def test_the_stop_strings_of_generation_config_end_an_answer(tiny_loaded: LoadedModel, stops: str | list[str]):
    with saying(tiny_loaded, {}) as loaded:
        loaded.model.generation_config.stop_strings = stops
        assert ours(loaded, []) == ("w7 w8 w9 " if isinstance(stops, str) else "w7 w8 w")
