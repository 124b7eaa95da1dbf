"""`python -m examples.generate` continues prompts with any model and profile set."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.generate import SET, main
from pipeline.config import params
from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("router", [None, "embedding", "scores"])
def test_every_prompt_is_continued_dense_and_sparse(
    tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], router: str | None
):
    profile_set(tiny_loaded, router).save_pretrained(tmp_path / "set")
    main(["w1 w2 w3 w4", "w9 w8"], model=str(tiny_llama), folder=str(tmp_path / "set"), tokens=4)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[0] == "w1 w2 w3 w4" and lines[3] == "w9 w8"
    assert lines[1].startswith("  dense ") and lines[2].startswith("  sparse  0.5 group ")


def test_a_folder_without_a_profile_set_is_a_user_error(tiny_llama: Path, tmp_path: Path):
    with pytest.raises(UserError, match="A profile set must have all of its files"):
        main(["w1"], model=str(tiny_llama), folder=str(tmp_path))


def test_the_default_set_is_one_that_the_default_run_exports():
    exported = params.load(ROOT / "params.yaml").export.methods
    assert Path(SET) in {Path("data/profile_sets", name) for name in exported}
