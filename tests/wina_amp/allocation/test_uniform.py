"""`wina_amp.allocation.uniform`: the target, or as much more as masks reach less."""

from __future__ import annotations

import pytest

from wina_amp.allocation.uniform import uniform


@pytest.mark.parametrize("target", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_mean_sparsity_over_all_weights_is_the_target(target: float, fraction: float) -> None:
    if target <= fraction:
        assert uniform(target, fraction) * fraction == pytest.approx(target)


def test_masks_cannot_go_beyond_the_weights_that_they_gate() -> None:
    with pytest.raises(ValueError, match=r"at most 0\.5000, got 0\.65"):
        uniform(0.65, 0.5)
