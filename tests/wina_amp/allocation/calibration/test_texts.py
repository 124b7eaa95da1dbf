"""`wina_amp.allocation.calibration.texts`: the same text whatever the order, and inputs that are the dense model's
own."""

from __future__ import annotations

import math

import torch

from tests.wina_amp.allocation.blocks import random_model, texts
from wina_amp.allocation.calibration.texts import MEASURED_FRACTION, block_inputs, choose, minibatch


def test_the_choice_depends_on_seed_and_ids_and_not_on_the_order_or_on_absent_samples() -> None:
    every = texts(40)
    chosen = choose(every, tokens=30, dense_prefix=1, seed=0)
    assert choose(every[::-1], tokens=30, dense_prefix=1, seed=0) == chosen
    assert choose(every, tokens=30, dense_prefix=1, seed=1) != chosen
    kept = [text for text in every if text in chosen or int(text.sample_id[-1]) % 2]
    assert choose(kept, tokens=30, dense_prefix=1, seed=0) == chosen


def test_enough_measured_tokens_are_chosen_and_no_text_more() -> None:
    def measured(chosen):
        return sum(math.ceil(MEASURED_FRACTION * (text.length - 2)) for text in chosen)

    chosen = choose(texts(40), tokens=50, dense_prefix=2, seed=0)
    assert measured(chosen) >= 50 > measured(chosen[:-1])
    assert len(choose(texts(5), tokens=10**6, dense_prefix=2, seed=0)) == 5


def test_inputs_are_the_dense_models_hidden_states_at_the_right_tokens() -> None:
    loaded = random_model("llama")
    inputs = block_inputs(loaded, texts(), dense_prefix=1, budget=70)
    assert len(inputs) == 2 and len(inputs[0]) > 1
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in loaded.model.modules())
    outputs = torch.cat([block_input.output for block_input in inputs[0]])
    alone = []
    for text in sorted(texts(), key=lambda text: (text.length, text.sample_id)):
        ids = torch.tensor([text.ids])
        with torch.no_grad():
            states = loaded.decoder(input_ids=ids, output_hidden_states=True).hidden_states
        alone.append(states[1][0, text.length - math.ceil(MEASURED_FRACTION * (text.length - 1)) :])
    batching = 1e-5  # float32 sums of at most 48 terms in another order, values of order 1
    assert torch.allclose(outputs, torch.cat(alone), atol=batching)
    for block_input in inputs[0] + inputs[1]:
        assert not (block_input.measured & ~block_input.eligible).any() and not block_input.eligible[:, 0].any()


def test_minibatches_show_every_text_once_an_epoch_in_orders_of_their_own():
    epochs = [sorted(n for k in range(3) for n in minibatch(3 * e + k, 9, 3, seed=1)) for e in range(2)]
    assert epochs == [list(range(9))] * 2
    assert minibatch(0, 9, 3, seed=1) != minibatch(3, 9, 3, seed=1)
    assert minibatch(0, 9, 3, seed=1) != minibatch(0, 9, 3, seed=2)
    assert minibatch(5, 4, 64, seed=0) == [0, 1, 2, 3]
