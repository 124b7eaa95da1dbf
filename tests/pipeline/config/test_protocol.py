"""`pipeline.config.protocol`: protocol.yaml is read, and settings that ask otherwise are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from commands.preset_files import FOLDER, apply_all
from commands.preset_files import load as load_preset
from pipeline.config.params import Settings
from pipeline.config.protocol import check, file_of, is_confirmation, load
from tests.settings import PARAMS, ROOT
from wina_amp.errors import UserError

FILE = ROOT / file_of("embedded")
WRITTEN: dict[str, Any] = YAML(typ="safe").load(FILE)


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The committed ones with the protocol's presets."""
    presets = [load_preset(name, folder=ROOT / FOLDER) for name in WRITTEN["presets"]]
    return apply_all(presets, Path(PARAMS).read_text())[-1]


def confirming(settings: Settings, *, samples: int = WRITTEN["samples"], refit: int = 0) -> Settings:
    benchmark = replace(settings.benchmark, confirmation_samples=samples, refit=refit)
    return replace(settings, benchmark=benchmark, evaluate=replace(settings.evaluate, splits=("confirmation",)))


def test_the_committed_protocol_asks_what_the_committed_settings_can_answer(settings: Settings):
    protocol = load(FILE)
    check(protocol, settings)
    check(protocol, confirming(settings, refit=protocol.refits - 1))
    assert not is_confirmation(settings) and is_confirmation(confirming(settings))
    first = next(iter(protocol.questions.values()))
    assert (first.method, first.baseline) == ("clustered_routed", "greedy"), "the literal question comes first"
    assert protocol.methods[:2] == ["clustered_routed", "greedy"]


def with_change(tmp_path: Path, **change: object) -> Path:
    YAML(typ="safe").dump(WRITTEN | change, tmp_path / FILE.name)
    return tmp_path / FILE.name


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"salt": ""}, "`salt` must be one line of text", id="no salt"),
        pytest.param({"refits": 1}, "`refits` must be a whole number at least 2", id="one fit"),
        pytest.param({"smallest": 0.0}, "`smallest` must be a number above 0", id="no smallest difference"),
        pytest.param({"questions": {}}, "`questions`", id="no question"),
        pytest.param({"target": 0.5}, "section must be one of.*Found: 'target'", id="a target for all"),
    ],
)
def test_a_protocol_that_says_too_little_or_too_much_is_refused(tmp_path: Path, change: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        load(with_change(tmp_path, **change))


QUESTION = {"method": "clustered_routed", "baseline": "greedy", "target": 0.5}


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"method": "clusterd_routed"}, "did you mean 'clustered_routed'", id="an unknown method"),
        pytest.param({"target": 0.51}, "0.51, not among .*`questions.a`", id="a target without profiles"),
    ],
)
def test_a_question_that_the_settings_cannot_answer_is_refused(
    tmp_path: Path, settings: Settings, change: dict[str, Any], message: str
):
    with pytest.raises(UserError, match=message):
        check(load(with_change(tmp_path, questions={"a": QUESTION | change})), settings)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"samples": 0}, "`benchmark.confirmation_samples` must be 384", id="no samples"),
        pytest.param({"samples": 385}, "must be 384.*Found: 385.*commands.confirm", id="more samples"),
        pytest.param({"refit": 3}, "`benchmark.refit` must be below 3", id="a refit too many"),
    ],
)
def test_the_confirmation_split_is_not_run_otherwise_than_the_protocol_says(
    settings: Settings, change: dict[str, Any], message: str
):
    with pytest.raises(UserError, match=message):
        check(load(FILE), confirming(settings, **change))
