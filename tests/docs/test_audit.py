"""`make audit` asks for the packages that are installed: every one is pinned, and none twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.tried("packages", "right")
@pytest.mark.parametrize("file", sorted(path.name for path in ROOT.glob("requirements*.txt")))
def test_every_package_is_pinned_once(file: str):
    lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines()]
    named = [re.fullmatch(r"([A-Za-z0-9._-]+)(\[[a-z0-9,]+\])?==[0-9][0-9A-Za-z.+!]*", line) for line in lines if line]
    assert named and all(named)
    names = [re.sub(r"[-_.]+", "-", match[1]).lower() for match in named if match]
    assert len(names) == len(set(names))


@pytest.mark.tried("packages", "refused")
def test_a_package_that_cannot_be_asked_about_fails_the_audit():
    recipe = re.search(r"^audit:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert recipe and " --strict" in recipe[1] and "Not passed" in recipe[1]
