"""`wina_amp.cli.output`: text stays as it is, and JSON is JSON."""

from __future__ import annotations

import json

import pytest

from wina_amp.cli.output import show_json, show_table


def test_cells_are_text_and_no_markup(capsys: pytest.CaptureFixture[str]):
    show_table("of [bold]words[/bold]", ("answer", "count"), [("[red]x[/red] :smile:", 3), ("[/]", 12)])
    said = capsys.readouterr().out
    assert all(text in said for text in ("of [bold]words[/bold]", "[red]x[/red] :smile:", "[/]"))
    assert "\x1b" not in said


def test_numbers_are_aligned_and_long_text_is_kept_whole(capsys: pytest.CaptureFixture[str]):
    show_table("t", ("text", "number"), [("z" * 300, 0.5), ("y", 1000)])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.count("z") for line in lines) == 300 and max(map(len, lines)) <= 120
    assert [line.rstrip().rpartition(" ")[2] for line in lines if "1000" in line or "0.5" in line] == ["0.5", "1000"]


def test_a_table_without_rows_has_its_head(capsys: pytest.CaptureFixture[str]):
    show_table("nothing", ("a", "b"), [])
    assert "nothing" in capsys.readouterr().out


def test_json_is_written_whole_and_refuses_what_is_none(capsys: pytest.CaptureFixture[str]):
    show_json({"name": "größe", "value": 0.1})
    assert json.loads(capsys.readouterr().out) == {"name": "größe", "value": 0.1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        show_json(float("nan"))
