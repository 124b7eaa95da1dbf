"""docs/reliability.md is what the tests say now."""

from __future__ import annotations

import subprocess
import sys

from docs import reliability


def test_the_page_is_what_the_tests_say_now():
    # In a process of its own: pytest does not run inside pytest.
    code = "import sys; from docs.reliability import page; sys.__stdout__.write(page())"
    ran = subprocess.run([sys.executable, "-c", code], cwd=reliability.ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == reliability.PAGE.read_text(encoding="utf-8"), "run `make docs`"
