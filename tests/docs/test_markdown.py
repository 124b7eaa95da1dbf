"""The pages that people read: lines that fit a terminal, links that lead somewhere, a README of five minutes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
PAGES = [name for name in LISTED.split() if (ROOT / name).is_file()]
LONGEST = 120
README_WORDS = 1000
"""About 900, and the results table."""


@pytest.mark.skipif(not PAGES, reason="not a Git checkout")
@pytest.mark.parametrize("page", PAGES)
def test_no_line_outside_a_table_is_longer_than_the_code_may_be(page: str):
    lines = enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), start=1)
    assert [number for number, line in lines if len(line) > LONGEST and not line.lstrip().startswith("|")] == []


@pytest.mark.skipif(not PAGES, reason="not a Git checkout")
@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_to_files(page: str):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8"))
    files = [target for target in targets if "://" not in target]
    assert [target for target in files if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if Path(page).name not in ("log.md", "CHANGELOG.md")])
def test_code_that_a_page_names_is_there(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(
        r"`((?:pipeline|wina_amp|stages|commands|tests|benchmarks|docs|presets|examples)/[\w./-]+)`", text
    )
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_readme_names_targets_that_the_makefile_has():
    readme, makefile = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "Makefile"))
    named = set(re.findall(r"(?:`|^    )make ([a-z]+)", readme, flags=re.MULTILINE))
    assert named <= set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert {"repro", "test"} <= named


def test_the_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS
