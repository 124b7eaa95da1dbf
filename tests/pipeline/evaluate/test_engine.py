"""`pipeline.evaluate.engine`: predictions in chunks, and refusal of numbers that are none."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.evaluate import engine as engine_module
from pipeline.evaluate.engine import Engine
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel


def test_predictions_do_not_depend_on_how_many_logits_exist_at_a_time(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    draw = torch.Generator().manual_seed(8)
    hidden = torch.randn(11, 32, generator=draw)
    positions, tokens = [0, 10, 3, 3, 7, 0], [5, 6, 7, 8, 9, 63]
    engine = Engine(tiny_loaded, None, 0)
    with torch.inference_mode():
        whole, best = engine.predict(hidden, positions, tokens), engine.best_tokens(hidden)
        monkeypatch.setattr(engine_module, "_EXPONENTS", 130)  # two positions
        assert np.array_equal(engine.predict(hidden, positions, tokens).logprobs, whole.logprobs)
        monkeypatch.setattr(engine_module, "_ROWS_OF_LOGITS", 2)
        parts = engine.predict(hidden, positions, tokens)
        assert engine.best_tokens(hidden) == best
        wanted = torch.log_softmax(tiny_loaded.model.lm_head(hidden).double(), dim=-1)[positions, tokens]
    # One logit and one log-sum-exp, each rounded to float32 (24 bits) at a magnitude below 32.
    assert np.allclose(whole.logprobs, wanted.numpy(), rtol=0, atol=1e-5)
    assert np.allclose(parts.logprobs, whole.logprobs, rtol=0, atol=1e-5)
    is_best = [best[position] == token for position, token in zip(positions, tokens, strict=True)]
    assert is_best == whole.is_best.tolist()


def test_nan_in_the_model_is_refused(tiny_loaded: LoadedModel):
    broken = replace(tiny_loaded, model=copy.deepcopy(tiny_loaded.model))
    with torch.inference_mode():
        broken.model.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
        engine = Engine(broken, None, 0)
        with pytest.raises(UserError, match=r"hidden states must be finite.*batch of 1 rows, dense.*bfloat16"):
            engine.forward(torch.tensor([[1, 5]]), [0], torch.ones(1, 2).bool())


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_logits_that_are_no_numbers_are_refused(tiny_loaded: LoadedModel, value: float):
    broken = replace(tiny_loaded, model=copy.deepcopy(tiny_loaded.model))
    with torch.inference_mode():
        broken.model.lm_head.weight[7] = value
        engine, hidden = Engine(broken, None, 0), torch.ones(2, 32)
        with pytest.raises(UserError, match=r"log-probabilities must be finite.*batch of 2 rows"):
            engine.predict(hidden, [0, 1], [7, 7])
        if value != -float("inf"):
            with pytest.raises(UserError, match=r"logits must be finite"):
                engine.best_tokens(hidden)
