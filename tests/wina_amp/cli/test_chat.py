"""`wina-amp chat` answers every line of standard input as `generate()` does, and says what was sparse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.cli.app import app
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.sparsity import sparsify_

TEMPLATE = (
    "{% for message in messages %}{{ 'w50 ' if message.role == 'user' else 'w51 ' }}{{ message.content }} w52 "
    "{% endfor %}{% if add_generation_prompt %}w51 {% endif %}"
)
OPTIONS = ("--tokens", "4", "--backend", "reference")


@pytest.fixture
def folder(tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path) -> Path:
    """A folder with the model and a profile set with a router."""
    shutil.copytree(tiny_llama, tmp_path / "model")
    profile_set(tiny_loaded).save_pretrained(tmp_path / "set")
    return tmp_path


def answers(folder: Path, lines: str) -> list[dict]:
    arguments = ["chat", str(folder / "model"), str(folder / "set"), *OPTIONS, "--json"]
    result = CliRunner().invoke(app, arguments, input=lines)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def expected(loaded: LoadedModel, text: str, special: bool) -> tuple[str, str, float | None]:
    """Answer, group and realised sparsity of a prompt."""
    made = profile_set(loaded)
    ids = loaded.tokenizer(text, return_tensors="pt", add_special_tokens=special)["input_ids"]
    with sparsify_(loaded, made, sparsity=0.5, backend="reference", measure=True) as sparse:
        tokens = loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)
        assert sparse.groups is not None
        group = made.description.groups[int(sparse.groups[0])].name
        return (
            loaded.tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True),
            group,
            sparse.realised_sparsity,
        )


def test_without_a_chat_template_the_text_so_far_is_continued(folder: Path, tiny_loaded: LoadedModel):
    first, second = answers(folder, "w1 w2 w3\n\n \nw4 w5\n")
    assert (first["answer"], first["group"], first["realised_sparsity"]) == expected(tiny_loaded, "w1 w2 w3", True)
    text = f"w1 w2 w3{first['answer']}\nw4 w5"
    assert (second["answer"], second["group"], second["realised_sparsity"]) == expected(tiny_loaded, text, True)


def test_with_a_chat_template_the_whole_conversation_is_in_it(folder: Path, tiny_loaded: LoadedModel):
    (folder / "model" / "chat_template.jinja").write_text(TEMPLATE)
    first, second = answers(folder, "w1 w2 w3\nw4 w5\n")
    assert first["answer"] == expected(tiny_loaded, "w50 w1 w2 w3 w52 w51 ", False)[0]
    text = f"w50 w1 w2 w3 w52 w51 {first['answer']} w52 w50 w4 w5 w52 w51 "
    assert second["answer"] == expected(tiny_loaded, text, False)[0]
    assert first["tokens_per_second"] > 0 and first["dense_tokens_per_second"] > 0


def test_answers_are_written_with_group_sparsity_and_speed_below_them(folder: Path, tiny_loaded: LoadedModel):
    arguments = ["chat", str(folder / "model"), str(folder / "set"), *OPTIONS]
    result = CliRunner().invoke(app, arguments, input="w1 w2 w3\n")
    answer, group, sparsity = expected(tiny_loaded, "w1 w2 w3", True)
    said, below = result.stdout.splitlines()[:2]
    assert said.strip() == answer.strip()
    assert below.startswith(f"({group}, realised sparsity {sparsity:.3f}, ") and "tokens a second, dense" in below


@pytest.mark.tried("errors", "refused")
def test_a_conversation_that_has_grown_too_long_is_refused(folder: Path):
    arguments = ["chat", str(folder / "model"), str(folder / "set"), *OPTIONS, "--json"]
    result = CliRunner().invoke(app, arguments, input="w1\n" + "w1 " * 130 + "\n")
    assert isinstance(result.exception, UserError) and "fit into the context of 128" in str(result.exception)
    assert len(result.stdout.splitlines()) == 1
