"""The settings of the reference model: the committed file is sound, and mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.reference_model.recipe import load
from wina_amp.errors import UserError

COMMITTED = Path("data/reference/params.yaml")


def test_the_committed_settings_are_sound() -> None:
    settings = load(COMMITTED)
    assert settings.phases[-1].until > settings.phases[0].until
    assert settings.architecture.heads % settings.architecture.kv_heads == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hidden: 192", "hidden: wide", "architecture.hidden"),
        ("warmup: 280000", "warmup: 0.5", "recipe.warmup"),
        ("until: 15000000", "until: 10", "must end after the one before"),
        ("{addition: 4.0", "{adition: 4.0", "did you mean 'addition'"),
        ("sorting: [2, 3, 4]", "sorting: [2, 9]", "phases[2].levels.sorting"),
        ("[0.45, 0.02]", "[0.45]", "phases[2].rate"),
        ("phases:", "fases:", "did you mean 'phases'"),
        ("  - until: 4923000", "  - untill: 4923000", "did you mean 'until'"),
    ],
)
def test_a_mistake_is_an_error_that_names_the_setting(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = COMMITTED.read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError) as caught:
        load(tmp_path / "params.yaml")
    assert message in str(caught.value)
