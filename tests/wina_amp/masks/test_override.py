"""`wina_amp.masks.override`: a method is replaced and comes back, the class's own or the module's own."""

from __future__ import annotations

import pytest
from torch import nn

from wina_amp.masks.override import overridden


def _other(x: int) -> int:
    return x + 1


@pytest.mark.parametrize("has_own", [False, True])
def test_a_method_comes_back_also_after_an_error(has_own: bool):
    module = nn.Identity()
    if has_own:
        vars(module)["forward"] = _other
    before = dict(vars(module))
    with overridden(module, "forward", lambda x: -x):
        assert module(3) == -3
    with pytest.raises(KeyError), overridden(module, "forward", lambda x: -x):
        raise KeyError
    assert vars(module) == before
    assert module(3) == (4 if has_own else 3)
