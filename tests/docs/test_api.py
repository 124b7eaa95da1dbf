"""`docs.api`: docstrings become Markdown that keeps their paragraphs, examples and lists."""

from __future__ import annotations

import re

import pytest

import wina_amp
from docs import api

DOC = """Make a thing
of two lines.

    thing = make(
        1,

        2,
    )

Some more.

Args:
    first, second: the numbers,
        on two lines: with a colon.
    third: another.

Returns: the thing:

    with make() as thing:
        pass

Guarantee: it is
    always the same.

Raises:
    UserError: a number is missing.
"""


def test_paragraphs_examples_lists_and_sections_are_blocks() -> None:
    assert list(api.blocks(DOC.strip())) == [
        "Make a thing of two lines.",
        "```python\nthing = make(\n    1,\n\n    2,\n)\n```",
        "Some more.",
        "**Args**",
        "- `first, second`: the numbers, on two lines: with a colon.\n- `third`: another.",
        "**Returns:** the thing:",
        "```python\nwith make() as thing:\n    pass\n```",
        "**Guarantee:** it is always the same.",
        "**Raises**",
        "- `UserError`: a number is missing.",
    ]


@pytest.mark.parametrize("name", wina_amp.__all__)
def test_every_public_name_has_a_section_with_an_example_that_is_python(name: str) -> None:
    section = "\n\n".join(api.page()).split(f"## `{name}`\n", 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    signature, *examples = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert signature.startswith(f"{name}(")
    assert examples
    for example in examples:
        compile(example, name, "exec")
