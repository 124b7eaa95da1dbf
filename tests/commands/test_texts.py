"""`commands.texts`: passages of published files, split by documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import texts
from wina_amp.errors import UserError


def words(first: int, count: int) -> str:
    return " ".join(f"w{at}" for at in range(first, first + count))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder with a little of every file, in its format."""
    folder = tmp_path / "files"
    handbook = folder / "debian-handbook" / "html" / "de-DE"
    for made in (folder / "wikitext-2", folder / "gsm8k", handbook):
        made.mkdir(parents=True)
    articles = [f" = Title {at} = \n {words(at * 10_000, 400)} two @-@ fold ( x ) , y .\n" for at in range(120)]
    (folder / "wikitext-2" / "valid.txt").write_text("\n".join(articles))
    (folder / "minigpt_tinystories.txt").write_text("\n\n".join(f"Once {words(at * 1000, 90)}" for at in range(800)))
    for at in range(100):
        paragraphs = "".join(f'<div class="para">\n f&uuml;r <em>{words(at * 1000, 420)}</em></div>' for _ in range(2))
        (handbook / f"{at}.html").write_text(f"<html><div>Menu</div>{paragraphs}</html>")
    solved = [{"question": f"q{at}?", "answer": f"1+1=<<1+1={at}>>{at}\n#### {at}"} for at in range(500)]
    (folder / "gsm8k" / "train.jsonl").write_text("\n".join(map(json.dumps, solved)))
    told = [{"instruction": f"i{at}", "input": "", "output": f"o{at}" if at else " "} for at in range(500)]
    (folder / "alpaca_data.json").write_text(json.dumps(told))
    return folder


def test_every_kind_of_text_becomes_a_local_file_and_no_document_gives_both_splits(published: Path, tmp_path: Path):
    texts.main(published, tmp_path)
    rows = {
        name: [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        for name in texts.SOURCES
    }
    for own in rows.values():
        assert {split: sum(row["split"] == split for row in own) for split in texts.PASSAGES} == texts.PASSAGES
    passages = [row["text"] for name in ("encyclopaedia", "stories", "german", "source_code") for row in rows[name]]
    assert {len(passage.split()) for passage in passages} == {texts.WORDS}
    thousand = {
        split: {row["text"].split()[40][:-4] for row in rows["encyclopaedia"] if row["split"] == split}
        for split in texts.PASSAGES
    }
    assert thousand["train"] and thousand["test"] and not thousand["train"] & thousand["test"]
    assert "für w" in rows["german"][0]["text"] and "Menu" not in rows["german"][0]["text"]
    assert rows["word_problems"][0]["text"].count("<<") == 0 and "The answer is" in rows["word_problems"][0]["text"]
    assert all(row["output"].strip() for row in rows["instructions"])


def test_words_of_wikitext_are_put_together_again(published: Path):
    [first, *_] = texts._articles(published / "wikitext-2" / "valid.txt")
    text = (published / "wikitext-2" / "valid.txt").read_text()
    assert "two @-@ fold ( x ) , y ." in text and len(first) == 5
    file = published / "one.txt"
    file.write_text(f" = T = \n {words(0, 70)} two @-@ fold ( x ) , y . {words(0, 10)}")
    [[passage]] = texts._articles(file)
    assert "two-fold (x), y. w0" in passage["text"]


@pytest.mark.tried("errors", "refused")
def test_files_that_are_not_there_and_texts_that_are_too_short_are_refused(published: Path, tmp_path: Path):
    (published / "gsm8k" / "train.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    with pytest.raises(UserError, match=r"`word_problems` must give 460 passages.*Found: 1"):
        texts.main(published, tmp_path)
    (published / "alpaca_data.json").unlink()
    (published / "gsm8k" / "train.jsonl").unlink()
    with pytest.raises(UserError, match=r"must hold the files of `word_problems`.*gsm8k/train.jsonl"):
        texts.main(published, tmp_path)
