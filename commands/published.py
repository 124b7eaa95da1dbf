"""The rows of published benchmark files, in the columns that lm-eval's own tasks read.

For every task: where its files lie below the user's folder, by split, and one function from a row as published to a
document of lm-eval's data set. Formats are the authors' own and copies in MosaicML's llm-foundry and in
LLM-Adapters; a function knows a format by its columns. Nothing is mended: what a format has left out is not made up.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, cast

from wina_amp.errors import UserError

Row = Mapping[str, Any]
"""Of a published file, and of a document of lm-eval."""

FORMATS = "formats are described in docs/tasks.md, under Published benchmarks"

_LETTERS = "ABCD"
_TO_OPTIONS = re.compile(r"((?:.* )?)(.+)\0\1(.+)", re.DOTALL)


@dataclass(frozen=True)
class Published:
    """The files of a task.

    Attributes:
        files: split of lm-eval's task -> patterns of its file, the preferred one first; `{subject}` is MMLU's.
        document: a row of any of them as lm-eval's columns.
    """

    files: Mapping[str, tuple[str, ...]]
    document: Callable[[Row], Row]

    def file(self, folder: Path, split: str, subject: str = "") -> Path | None:
        """The file of a split below the folder, if there is one.

        Raises:
            UserError: there are several.
        """
        for pattern in self.files.get(split, ()):
            matching = sorted(folder.glob(pattern.format(subject=subject)))
            if len(matching) > 1:
                must = f"One file only may match {pattern}"
                raise UserError(
                    must, found=", ".join(map(str, matching)), where=str(folder), remedy="remove the others"
                )
            if matching:
                return matching[0]
        return None

    def documents(self, file: Path) -> list[Row]:
        """All documents of a file, in its order.

        Raises:
            UserError: a file that cannot be read, or a row of no known format; counted from 0.
        """
        documents: list[Row] = []
        try:
            for row in _rows(file):
                documents.append(self.document(row))  # one by one: an error names the row
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            found, where = f"{type(error).__name__}: {error}", f"{file}, row {len(documents)}"
            must = "A benchmark file must be as published"
            raise UserError(must, found=found, where=where, remedy=FORMATS) from error
        return documents


def _rows(file: Path) -> Iterator[Row]:
    """Rows of a `.jsonl`, `.json` (a list, or two by the names dev and test) or `.csv` file; labels of a `-labels.lst`
    beside it as column `label`."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".csv":
        yield from _csv_rows(text)
        return
    rows = json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]
    if isinstance(rows, dict):
        rows = [*rows["dev"], *rows["test"]]
    labels = file.with_name(f"{file.stem}-labels.lst")
    if not labels.is_file():
        yield from cast(list[Row], rows)
        return
    for row, label in zip(rows, labels.read_text(encoding="utf-8").split(), strict=True):
        yield {**row, "label": label}


def _csv_rows(text: str) -> Iterator[Row]:
    """Rows of MMLU: question, four choices and the answer, a letter or a number; the copy with a header has numbers."""
    for row in csv.reader(StringIO(text, newline="")):
        question, *choices, answer = row
        if answer != "answer":
            yield {"question": question, "choices": choices, "answer": answer}


def _piqa(row: Row) -> Row:
    return {name: row[name] for name in ("goal", "sol1", "sol2")} | {"label": int(row["label"])}


def _hellaswag(row: Row) -> Row:
    names = ("activity_label", "ctx_a", "ctx_b", "endings")
    return {name: row[name] for name in names} | {"label": str(row["label"])}


def _hellaswag_without_label(row: Row) -> Row:
    from lm_eval.tasks.hellaswag.utils import preprocess

    choices = [preprocess(ending) for ending in row["choices"].values()]
    return {"query": preprocess(row["question"]), "choices": choices, "label": str(_LETTERS.index(row["answer"]))}


def _arc(row: Row) -> Row:
    if "answerKey" in row:  # AI2
        asked = row["question"]
        texts, labels = ([choice[name] for choice in asked["choices"]] for name in ("text", "label"))
        return {"question": asked["stem"], "choices": {"text": texts, "label": labels}, "answerKey": row["answerKey"]}
    # LLM-Adapters: all in one text. (llm-foundry's copy names a wrong choice as right where AI2 numbers choices.)
    question, listed = row["instruction"].partition(": ")[2].split("\n\nAnswer1: ")
    texts = re.split(r" Answer\d: ", listed.rpartition("\n\nAnswer format")[0])
    right = int(row["answer"].removeprefix("answer")) - 1
    labels = ["ABCDE"[number] for number in range(len(texts))]
    return {"question": question, "choices": {"text": texts, "label": labels}, "answerKey": labels[right]}


def _winogrande(row: Row) -> Row:
    if "sentence" in row:  # AI2
        return {name: row[name] for name in ("sentence", "option1", "option2", "answer")}
    # llm-foundry: the sentence as far as either option, so that what both begin with is what stands before the blank.
    before, *options = cast(re.Match[str], _TO_OPTIONS.fullmatch("\0".join(row["context_options"]))).groups()
    sentence = f"{before}_ {row['continuation']}"
    return {"sentence": sentence, "option1": options[0], "option2": options[1], "answer": str(row["gold"] + 1)}


def _gsm8k(row: Row) -> Row:
    return {"question": row["question"], "answer": row["answer"]}


def _lambada(row: Row) -> Row:
    return {"text": row["text"] if "text" in row else f"{row['context']} {row['continuation']}"}


def _boolq(row: Row) -> Row:
    is_true = row["label"] if "label" in row else row["answer"]
    return {"question": row["question"], "passage": row["passage"], "label": int(is_true)}


def _mmlu(row: Row) -> Row:
    answer = row["answer"]
    right = _LETTERS.index(answer) if answer in _LETTERS else int(answer)
    if len(row["choices"]) != len(_LETTERS) or not 0 <= right < len(_LETTERS):
        raise ValueError("not four choices, one of them right")
    return {"question": row["question"], "choices": row["choices"], "answer": right}


def _arc_files(name: str) -> Mapping[str, tuple[str, ...]]:
    own = {"train": "Train", "validation": "Dev", "test": "Test"}
    return {split: (f"**/{name}-{suffix}.jsonl", f"**/{name}/{split}.json") for split, suffix in own.items()}


PUBLISHED = {
    "piqa": Published({"train": ("**/piqa/**/train.jsonl",), "validation": ("**/piqa/**/valid.jsonl",)}, _piqa),
    "hellaswag": Published(
        {"train": ("**/hellaswag_train.jsonl",), "validation": ("**/hellaswag_val.jsonl",)}, _hellaswag
    ),
    "hellaswag_without_label": Published({"validation": ("**/hellaswag.json",)}, _hellaswag_without_label),
    "arc_easy": Published(_arc_files("ARC-Easy"), _arc),
    "arc_challenge": Published(_arc_files("ARC-Challenge"), _arc),
    "winogrande": Published(
        {
            "train": ("**/winogrande*/**/train_xl.jsonl",),
            "validation": ("**/winogrande*/**/dev.jsonl", "**/winogrande.jsonl"),
        },
        _winogrande,
    ),
    "gsm8k": Published({split: (f"**/gsm8k/**/{split}.jsonl",) for split in ("train", "test")}, _gsm8k),
    "lambada_openai": Published({"test": ("**/lambada_test.jsonl", "**/lambada_openai.jsonl")}, _lambada),
    "boolq": Published(
        {
            "train": ("**/[bB]ool[qQ]/**/train.jsonl",),
            "validation": ("**/[bB]ool[qQ]/**/val.jsonl", "**/[bB]ool[qQ]/**/dev.jsonl"),
        },
        _boolq,
    ),
    "mmlu": Published({split: (f"**/mmlu/**/{{subject}}_{split}.csv",) for split in ("dev", "test")}, _mmlu),
}
"""Task of lm-eval -> its files. The authors' archives unpack to these names; MMLU's is to be unpacked in `mmlu/`."""
