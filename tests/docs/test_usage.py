"""`docs/usage.md` names what there is: options, backends, kinds of prefill, extras, families and errors."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from wina_amp.calibration.arguments import CRITERIA
from wina_amp.calibration.calibrate import calibrate
from wina_amp.cli.app import app
from wina_amp.decode.backends import AUTO, BACKENDS
from wina_amp.names import ALLOCATIONS, PREFILLS
from wina_amp.profile_set.sparsity import Sparsity, sparsify_

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "usage.md").read_text()


def test_every_option_and_every_part_of_the_handle_is_named():
    options = set(inspect.signature(sparsify_).parameters) - {"model", "profiles"}
    assert options == {option for option in options if re.search(rf"`{option}`", PAGE)}
    public = {name for name in vars(Sparsity) if not name.startswith("_")}
    assert public == {name for name in public if re.search(rf"`\.{name}\b", PAGE)}


def test_every_allocation_criterion_and_argument_that_a_user_chooses_is_named():
    arguments = {*inspect.signature(calibrate).parameters} - {"name", "data", "progress", "dense_prefix"}
    assert all(re.search(rf"\b{name}\b", PAGE) for name in arguments)
    assert all(f"`{name}`" in PAGE for name in (*ALLOCATIONS, *CRITERIA))


def test_every_command_has_an_example():
    names = (each.name or (each.callback and each.callback.__name__) or "" for each in app.registered_commands)
    commands = {name.replace("_", "-") for name in names}
    assert commands == set(re.findall(r"^    wina-amp ([a-z-]+) ?", PAGE, flags=re.MULTILINE))


@pytest.mark.parametrize("names", [(AUTO, *BACKENDS), PREFILLS])
def test_every_backend_and_kind_of_prefill_has_a_row(names: tuple[str, ...]):
    assert all(f"\n| `{name}`" in PAGE for name in names)


def test_every_extra_has_a_row():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(f"\n| `{name}` |" in PAGE for name in project["optional-dependencies"])


def test_the_messages_are_those_of_the_code():
    code = "".join(path.read_text() for path in (ROOT / "wina_amp").rglob("*.py"))
    table = PAGE[PAGE.index("| message begins") :]
    messages = [message for line in table.splitlines()[2:] for message in re.findall(r"`([A-Z][^`]+)`", line)]
    assert len(messages) > 5
    for message in messages:
        for fragment in message.split("..."):
            assert fragment.strip() in code, message


def test_the_programs_are_python():
    blocks = re.findall(r"(?:^    .*\n|^\n)+", PAGE, flags=re.MULTILINE)
    programs = [textwrap.dedent(block) for block in blocks if "import " in block]
    assert len(programs) == 3
    for program in programs:
        ast.parse(program)
