"""The limits of a generation request of lm-eval: texts that end the answer, and the largest number of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wina_amp.errors import UserError

_LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_DEFAULT_LENGTH = 256


@dataclass(frozen=True)
class Limits:
    """The end of an answer.

    Attributes:
        stops: texts that end the answer; they are not part of it.
        max_tokens: largest number of tokens generated.
    """

    stops: tuple[str, ...]
    max_tokens: int


def limits(arguments: Mapping[str, Any], task: str) -> Limits:
    """Read a task's `generation_kwargs`, with lm-eval's default of 256 tokens.

    Raises:
        UserError: it asks for sampling or beams; only greedy decoding is reproducible and supported.
    """
    is_greedy = (
        not arguments.get("do_sample") and not arguments.get("temperature") and arguments.get("num_beams", 1) == 1
    )
    if not is_greedy:
        raise UserError(
            "Generation must be greedy",
            found=f"generation_kwargs {dict(arguments)}",
            where=f"task {task}",
            remedy="set `do_sample: false` in the task's YAML and leave temperature and beams out",
        )
    until = arguments.get("until") or ()
    stops = (until,) if isinstance(until, str) else tuple(until)
    given = [arguments[name] for name in _LENGTH_NAMES if arguments.get(name) is not None]
    return Limits(tuple(stop for stop in stops if stop), int(given[0]) if given else _DEFAULT_LENGTH)
