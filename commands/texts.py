"""texts: six kinds of text, as local files beside the tasks of `commands.tasks`, to compare perplexities.

    python -m commands.texts <folder with the files> <folder of the tasks>

| file | what | from |
|---|---|---|
| `encyclopaedia` | Wikipedia articles | WikiText-2: `wikitext-2/valid.txt`, its word-level tokens put together again |
| `stories` | children's stories | TinyStories: `minigpt_tinystories.txt`, or `TinyStories-valid.txt` |
| `german` | a handbook in German | the Debian package `debian-handbook`, unpacked: `dpkg-deb -x <file> <folder>` |
| `source_code` | Python | the installed, pinned scikit-learn, without its tests |
| `word_problems` | solutions, behind an arithmetic problem | GSM8K: `gsm8k/train.jsonl`, without calculator notes |
| `instructions` | answers, behind the instruction | Alpaca: `alpaca_data.json` |

Running text is cut into passages of 80 words, one sample each where `benchmark.text_context` and `text_scored` are 80
words together. Of every file 260 passages are for calibration and 200 are held out. No document gives both; of stories
no stretch of eight passages does, where a story may end in another one.
"""

from __future__ import annotations

import argparse
import hashlib
import html
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import files as files_of_package
from itertools import islice
from pathlib import Path

from stages.run import run_command
from wina_amp.atomic import replacing
from wina_amp.errors import UserError
from wina_amp.names import TEST, TRAIN

log = logging.getLogger("commands.texts")

WORDS = 80
PASSAGES = {TRAIN: 260, TEST: 200}

Row = dict[str, str]


@dataclass(frozen=True)
class Source:
    """A kind of text.

    Attributes:
        patterns: of its files below the user's folder, the preferred one first.
        documents: the rows of every document in a file, in the columns of docs/tasks.md.
    """

    patterns: tuple[str, ...]
    documents: Callable[[Path], Iterator[list[Row]]]


def main(source: Path, folder: Path) -> None:
    """Write the files, and say how many passages each has.

    Raises:
        UserError: no files of a kind, or too little text in them.
    """
    for name, kind in SOURCES.items():
        rows = split_rows(name, (document for file in _files(name, kind, source) for document in kind.documents(file)))
        with replacing(folder / f"{name}.jsonl") as file:
            file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    log.info("%s: %s passages each", ", ".join(SOURCES), sum(PASSAGES.values()))


def split_rows(name: str, documents: Iterator[list[Row]]) -> list[Row]:
    """The rows of documents in the order of their hashes: the first fill `train`, those behind them `test`.

    Raises:
        UserError: too little text.
    """
    ranked = sorted(documents, key=lambda rows: hashlib.sha256(json.dumps(rows).encode()).hexdigest())
    queue, taken = iter(ranked), list[Row]()
    for split, wanted in PASSAGES.items():
        own = list(islice((row for rows in queue for row in rows), wanted))
        if len(own) < wanted:
            must = f"The text `{name}` must give {sum(PASSAGES.values())} passages"
            found = f"{sum(map(len, ranked))}, in {len(ranked)} documents"
            raise UserError(must, found, "the files of `commands/texts.py`", "use the whole files")
        taken += [row | {"split": split} for row in own]
    return taken


def passages(text: str) -> list[Row]:
    """The whole passages of running text, white space as it is."""
    words = list(re.finditer(r"\S+", text))
    starts = range(0, len(words) - WORDS + 1, WORDS)
    return [{"text": text[words[at].start() : words[at + WORDS - 1].end()]} for at in starts]


def _files(name: str, kind: Source, folder: Path) -> list[Path]:
    if name == "source_code":
        own = files_of_package("scikit-learn") or ()
        return sorted(Path(file.locate()) for file in own if file.suffix == ".py" and "tests" not in file.parts)
    for pattern in kind.patterns:
        if found := sorted(folder.rglob(pattern)):
            return found
    must, found = f"The folder must hold the files of `{name}`", f"none of {', '.join(kind.patterns)}"
    raise UserError(
        must, found=found, where=str(folder), remedy="`python -m commands.texts --help` says which they are"
    )


def _articles(file: Path) -> Iterator[list[Row]]:
    """Articles of WikiText: a title of one level begins each."""
    for article in re.split(r"\n = (?=[^=])", file.read_text(encoding="utf-8")):
        text = re.sub(r" @([-,.])@ ", r"\1", article)
        text = re.sub(r" ([,.;:!?)\]]|'s\b|n't\b)", r"\1", text)
        yield passages(re.sub(r"([(\[]) ", r"\1", text))


def _stories(file: Path) -> Iterator[list[Row]]:
    """Stretches of eight passages: a story is shorter than one passage, and not every copy marks where it ends."""
    text = file.read_text(encoding="utf-8")
    parts = text.split("<|endoftext|>") if "<|endoftext|>" in text else re.split(r"\n{3,}|\n\n(?=Once |One day)", text)
    joined = "\n\n".join(part.strip() for part in parts)
    chunk = 8 * WORDS
    words = list(re.finditer(r"\S+", joined))
    for at in range(0, len(words) - WORDS + 1, chunk):
        yield passages(joined[words[at].start() : words[min(at + chunk, len(words)) - 1].end()])


def _handbook(file: Path) -> Iterator[list[Row]]:
    """A page of the handbook: its paragraphs."""
    page = file.read_text(encoding="utf-8")
    paragraphs = re.findall(r'<div class="para">(.*?)</div>', page, re.DOTALL)
    plain = (" ".join(html.unescape(re.sub(r"<[^>]+>", "", paragraph)).split()) for paragraph in paragraphs)
    yield passages("\n".join(plain))


def _modules(file: Path) -> Iterator[list[Row]]:
    yield passages(file.read_text(encoding="utf-8"))


def _solutions(file: Path) -> Iterator[list[Row]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        solution = re.sub(r"<<[^>]*>>", "", row["answer"]).replace("#### ", "The answer is ")
        yield [{"context": f"Question: {row['question']}\nAnswer:", "text": solution}]


def _instructions(file: Path) -> Iterator[list[Row]]:
    for row in json.loads(file.read_text(encoding="utf-8")):
        if row["output"].strip():
            yield [{name: row[name] for name in ("instruction", "input", "output")}]


SOURCES = {
    "encyclopaedia": Source(("wikitext-2/valid.txt", "wiki.valid.tokens"), _articles),
    "stories": Source(("minigpt_tinystories.txt", "TinyStories-valid.txt"), _stories),
    "german": Source(("debian-handbook/html/de-DE/*.html",), _handbook),
    "source_code": Source((), _modules),
    "word_problems": Source(("gsm8k/train.jsonl",), _solutions),
    "instructions": Source(("alpaca_data.json",), _instructions),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="texts", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with the files")
    parser.add_argument("folder", type=Path, help="folder of the tasks, to write into")
    given = parser.parse_args()
    run_command("texts", lambda: main(given.source, given.folder))
