"""`wina_amp.allocation.greedy.recent`: what nobody asks for is forgotten, what somebody asks for is not."""

from __future__ import annotations

import torch

from wina_amp.allocation.greedy.recent import Recent


def test_a_tensor_is_kept_for_as_many_evaluations_as_said_after_it_was_last_asked_for() -> None:
    recent = Recent(span=3)
    kept = recent.put("a", torch.ones(1))
    recent.put("b", torch.zeros(1))
    recent.advance(3)
    assert recent.get("a") is kept
    recent.advance(1)
    assert recent.get("a") is kept and recent.get("b") is None
    recent.advance(4)
    assert recent.get("a") is None


def test_an_unknown_key_is_nobodys() -> None:
    assert Recent(span=1).get("a") is None
