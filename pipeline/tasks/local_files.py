"""Local files as lm-eval tasks: `<name>.jsonl`, `.parquet` or `.txt` in `benchmark.include` is the task `<name>`.

The task is made from plain settings; no code of the file's is run. docs/tasks.md describes the files,
`pipeline/tasks/local_columns.py` checks them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from datasets import Dataset, DatasetDict
from datasets.table import InMemoryTable
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask, Task

from pipeline.tasks.local_columns import LABELS, SPLIT, Row, read
from pipeline.tasks.local_lines import refuse_other_formats
from pipeline.tasks.separator import separator
from pipeline.tasks.text import text_task
from pipeline.tasks.windows import Windows
from wina_amp.errors import UserError
from wina_amp.names import TEST, TRAIN

SUFFIXES = (".jsonl", ".parquet", ".txt")
END_OF_DOCUMENT = "<|endoftext|>"
DEFAULT_STOP, DEFAULT_MAX_TOKENS = ["\n"], 64

log = logging.getLogger(__name__)

_ALPACA = (
    "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n"
)
_ALPACA_INPUT = ", paired with an input that provides further context"


class SeparatedTask(ConfigurableTask):
    """A task whose prompts and answers are joined by `separator`, in solved examples, too."""

    def build_qa_turn(self, **parts: Any) -> Any:
        """lm-eval's messages of a question and perhaps its answer, a text or the number of a choice."""
        answer: Any = parts.get("a") or 0
        text = answer if isinstance(answer, str) else (parts.get("c") or [""])[answer]
        arguments: dict[str, Any] = parts | {"tgt_delim": separator(parts["q"], text)}
        return super().build_qa_turn(**arguments)


class ChoiceTask(SeparatedTask):
    """The likeliest of some choices behind a prompt."""

    def construct_requests(self, doc: dict[str, Any], ctx: str | list[str], **kwargs: Any) -> list[Instance]:
        """lm-eval's requests. In a chat a choice begins a message of its own."""
        is_chat = kwargs.pop("apply_chat_template", False)
        kwargs.pop("chat_template", None)
        return [
            Instance(
                request_type="loglikelihood",
                doc=doc,
                arguments=(ctx, ("" if is_chat else separator(doc["prompt"], choice)) + choice),
                idx=number,
                **kwargs,
            )
            for number, choice in enumerate(doc["choices"])
        ]


class GenerationTask(SeparatedTask):
    """Free generation with stop texts and a largest number of tokens from each document's own columns."""

    def construct_requests(self, doc: dict[str, Any], ctx: str | list[str], **kwargs: Any) -> Instance:
        """lm-eval's request, with this document's limits."""
        kwargs.pop("apply_chat_template", None)
        kwargs.pop("chat_template", None)
        limits = {"until": doc["stop"], "max_gen_toks": doc["max_tokens"], "do_sample": False}
        return Instance(request_type="generate_until", doc=doc, arguments=(ctx, limits), idx=0, **kwargs)


def local_files(include: Path) -> dict[str, Path]:
    """Task name -> file, for the files of the folder itself (not of folders in it).

    Raises:
        UserError: two files have the same name but for their ending.
    """
    files: dict[str, Path] = {}
    for path in sorted(path for path in include.iterdir() if path.suffix in SUFFIXES):
        if path.stem in files:
            both = f"{files[path.stem].name} and {path.name}"
            raise UserError("Local files must have different names", both, str(include), "rename one of them")
        files[path.stem] = path
    return files


def local_task(path: Path, windows: Windows) -> Task:
    """The task of a local file. Its training split is `train`, its evaluated one `test`, as rows say in `split`.

    Rows without a column `split` are all `test`. Where all rows are `train`, `train` is the evaluated split, too.

    Raises:
        UserError: see `local_columns.read`; a text file that is not UTF-8; nothing left to ask.
    """
    if not path.is_file():
        others = "a link to nothing" if path.is_symlink() else "a folder, pipe or device"
        raise UserError("A local file must be a file", others, str(path), "put the file there, or rename what is there")
    layout, rows = ("text", _documents(path)) if path.suffix == ".txt" else read(path)
    made = [*_MAKERS[layout](rows, windows)]
    if not made:
        remedy = "docs/tasks.md says how long a text must be"
        raise UserError("A file of samples must have at least one", f"no {layout}", str(path), remedy)
    by_split: dict[str, list[Row]] = {}
    for row in made:
        by_split.setdefault(row.pop(SPLIT, TEST), []).append(row)
    splits = {name: Dataset(InMemoryTable(pa.Table.from_pylist(own))) for name, own in by_split.items()}
    training, evaluated = (TRAIN if TRAIN in splits else None), (TEST if TEST in splits else TRAIN)
    if "context" in made[0]:
        return text_task(path.stem, splits, training, evaluated)
    common = {
        "task": path.stem,
        "custom_dataset": lambda **_: DatasetDict(cast(Any, splits)),
        "training_split": training,
        "test_split": evaluated,
        "doc_to_text": "prompt",
    }
    return _generation(common) if "answer" in made[0] else _choice(common)


def _choice(common: Mapping[str, Any]) -> Task:
    return ChoiceTask(
        config={
            **common,
            "output_type": "multiple_choice",
            "doc_to_choice": "choices",
            "doc_to_target": "target",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
    )


def _generation(common: Mapping[str, Any]) -> Task:
    return GenerationTask(
        config={
            **common,
            "output_type": "generate_until",
            "doc_to_target": "answer",
            "generation_kwargs": {"until": DEFAULT_STOP, "max_gen_toks": DEFAULT_MAX_TOKENS, "do_sample": False},
            # Strips every response of a document, so it comes before one of them is taken.
            "filter_list": [
                {"name": "none", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}
            ],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        }
    )


def _documents(path: Path) -> list[Row]:
    refuse_other_formats(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad_line(path, error.object[: error.start].count(b"\n"), str(error), "convert the file") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n")
        raise _bad_line(path, line, "a NUL character", "take it out, or convert the file if it is no text in UTF-8")
    return [{"text": document} for document in text.split(END_OF_DOCUMENT)]


def _bad_line(path: Path, line: int, found: str, remedy: str) -> UserError:
    return UserError("A .txt file must be UTF-8", found, f"{path}, line {line} (from 0)", remedy)


def _choices(rows: Iterable[Row], windows: Windows) -> Iterator[Row]:
    for row in rows:
        yield {name: value for name, value in row.items() if name != "answer"}


def _answers(rows: Iterable[Row], windows: Windows) -> Iterator[Row]:
    for row in rows:
        yield {"stop": DEFAULT_STOP, "max_tokens": DEFAULT_MAX_TOKENS, **row, "answer": row["answer"].strip()}


def _instructions(rows: Sequence[Row], windows: Windows) -> Iterator[Row]:
    """Alpaca's own prompt, with and without an input."""
    for row in _with_text(rows, "output"):
        given = row.get("input", "")
        paired = (_ALPACA_INPUT, f"\n\n### Input:\n{given}") if given.strip() else ("", "")
        context = f"{_ALPACA.format(paired[0])}{row['instruction']}{paired[1]}\n\n### Response:"
        yield _text_row(row, context, row["output"])


def _behind_context(rows: Sequence[Row], windows: Windows) -> Iterator[Row]:
    for row in _with_text(rows, "text"):
        yield _text_row(row, row["context"], separator(row["context"], row["text"]) + row["text"])


def _cut(rows: Iterable[Row], windows: Windows) -> Iterator[Row]:
    for row in rows:
        for context, continuation in windows.cut(row["text"]):
            yield _text_row(row, context, continuation)


def _with_text(rows: Sequence[Row], column: str) -> list[Row]:
    """The rows that have something to score; Alpaca's published file has some that have not."""
    kept = [row for row in rows if row[column].strip()]
    if len(kept) < len(rows):
        log.warning("%d of %d rows have a blank `%s` and are left out", len(rows) - len(kept), len(rows), column)
    return kept


def _text_row(row: Row, context: str, continuation: str) -> Row:
    labels = {name: row[name] for name in (SPLIT, *LABELS) if name in row}
    return {"context": context, "continuation": continuation, **labels}


_MAKERS: dict[str, Callable[[Sequence[Row], Windows], Iterator[Row]]] = {
    "multiple choice": _choices,
    "generation": _answers,
    "instruction": _instructions,
    "text behind a context": _behind_context,
    "text": _cut,
}
