"""`import wina_amp` is light, and its public names are imported when they are used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import wina_amp

ROOT = Path(__file__).parents[2]

MOST_SECONDS = 0.3
"""For an import that loads four modules of the standard library; it takes about 0.03 s."""

PROGRAM = """
import json, sys, time
start = time.perf_counter()
import wina_amp
print(json.dumps([time.perf_counter() - start, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_importing_the_package_is_fast_and_loads_no_library():
    runs = []
    for _ in range(3):  # another process may hold a run up
        command = [sys.executable, "-c", PROGRAM]
        seconds, modules = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
        assert {"torch", "transformers", "numpy"}.isdisjoint(modules)
        runs.append(seconds)
    assert min(runs) < MOST_SECONDS


def test_public_names_are_those_of_their_modules():
    from wina_amp.errors import UserError
    from wina_amp.profile_set.profile_set import ProfileSet

    assert wina_amp.ProfileSet is ProfileSet and wina_amp.UserError is UserError
    assert set(wina_amp.__all__) <= set(dir(wina_amp))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'wina_amp' has no attribute 'ProfileSets'"):
        _ = wina_amp.ProfileSets
