"""Writes docs/reliability.md, the inputs and faults that were tried and what became of them, from the tests.

    python -m docs.reliability

A test says which kind of fault it tries and what must become of it, and its parameters name the inputs:

    @pytest.mark.tried("separator", "right")
    @pytest.mark.parametrize("delimiter", [pytest.param(" ", id="a space"), pytest.param("", id="nothing")])
    def test_prompt_and_choice_are_joined_by_one_space(delimiter): ...

The page is made from what pytest collects, so it cannot name a test that does not exist; that the tests pass is what
`make test` says. tests/docs/test_reliability.py fails when the committed page is not what this writes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"

KINDS = {
    "changed-inputs": "Inputs that change while a stage runs",
    "keys": "What a kept part depends on",
    "damage": "Damaged, leftover and overwritten files",
    "equal-bytes": "Equal runs are equal bytes",
    "checkpoint": "Checkpoints",
    "separator": "Prompt and choice: one separator",
    "ends": "Ends of generation",
    "volatile": "Nothing volatile in prompts",
    "tokens": "Tokens of prompts and answers",
    "neighbours": "A sample's numbers do not depend on its neighbours",
    "texts": "Texts and files",
    "names": "Names in commands and paths",
    "fault": "Faults in the middle of a long stage",
    "cluster": "On a Ray cluster",
    "sharing": "Sharing results",
    "memory": "Memory runs out",
    "errors": "Errors that a user can cause",
    "packages": "Vulnerable packages",
}
"""Kind of fault -> its heading, in the page's order."""

VERDICTS = {
    "right": "the right result, that of lm-eval or transformers where they define it",
    "refused": "an error that says what must hold, what was found, where and what to do",
    "recomputed": "noticed and computed again",
    "warned": "goes on, and says so",
}
"""What may become of an input, with its meaning."""


class _Collector:
    """Pytest plugin: keeps what was collected."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self.items = list(items)


def collected() -> dict[str, list[tuple[str, str, list[str]]]]:
    """Kind -> (test as a sentence, verdict, ids of its parameters) of every test that says what it tries.

    Raises:
        ValueError: a test names an unknown kind or verdict, or a module cannot be collected.
    """
    modules = sorted(
        str(path) for path in (ROOT / "tests").rglob("test_*.py") if "mark.tried(" in path.read_text(encoding="utf-8")
    )
    collector = _Collector()
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main(["--collect-only", "-q", "-n", "0", *modules], plugins=[collector])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise ValueError(output.getvalue())
    tests: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for item in collector.items:
        for mark in item.iter_markers("tried"):
            kind, verdict = mark.args
            if kind not in KINDS or verdict not in VERDICTS:
                raise ValueError(f"{item.nodeid}: kind must be one of {list(KINDS)}, verdict of {list(VERDICTS)}")
            name, _, parameters = item.name.partition("[")
            sentence = name.removeprefix("test_").replace("_", " ")
            tests[kind, sentence, verdict] += [parameters.removesuffix("]")] if parameters else []
    by_kind: dict[str, list[tuple[str, str, list[str]]]] = {kind: [] for kind in KINDS}
    for (kind, sentence, verdict), inputs in tests.items():
        by_kind[kind].append((sentence, verdict, inputs))
    return by_kind


def page() -> str:
    """The text of docs/reliability.md."""
    return "\n\n".join(_blocks(collected())) + "\n"


def _blocks(by_kind: dict[str, list[tuple[str, str, list[str]]]]) -> Iterator[str]:
    yield "# Reliability: what was tried"
    count = sum(max(1, len(inputs)) for tests in by_kind.values() for *_, inputs in tests)
    yield textwrap.fill(
        f"{count} faults and unusual inputs, and what becomes of each. Every line is a test, and the page is made from "
        "them by `make docs`; `make test` proves it, and `make faults`, `make ray` and `make sharing` what takes long "
        "or needs more.",
        120,
    )
    yield "\n".join(f"- **{verdict}**: {meaning}" for verdict, meaning in VERDICTS.items())
    for kind, tests in by_kind.items():
        if tests:
            yield f"## {KINDS[kind]}"
            rows = [
                f"| {sentence} | {'; '.join(map(_cell, inputs))} | {verdict} |" for sentence, verdict, inputs in tests
            ]
            yield "\n".join(("| what holds | tried with | verdict |", "| --- | --- | --- |", *rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    PAGE.write_text(page(), encoding="utf-8")
    logging.info("wrote docs/%s", PAGE.name)
