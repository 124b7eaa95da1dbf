"""The limits of a generation request of lm-eval: texts that end the answer, and the largest number of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wina_amp.errors import UserError

_LENGTH_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_DEFAULT_LENGTH = 256

_UNDERSTOOD = {"until", *_LENGTH_NAMES, "do_sample", "temperature", "num_beams", "top_p", "top_k"}
"""Whatever else a task may ask of `generate()` would change what is generated; the last two only if it were sampled."""


@dataclass(frozen=True)
class Limits:
    """The end of an answer: texts that end it and are no part of it, and the largest number of tokens generated."""

    stops: tuple[str, ...]
    max_tokens: int


def limits(arguments: Mapping[str, Any], task: str) -> Limits:
    """Read a task's `generation_kwargs`, with lm-eval's default of 256 tokens.

    Raises:
        UserError: it asks for sampling or beams (only greedy decoding is reproducible and supported), or for something
            that is not understood; a stop that is no text, a length that is no whole number above 0.
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
    unknown = sorted(set(arguments) - _UNDERSTOOD)
    if unknown:
        raise _refused(task, f"be {', '.join(sorted(_UNDERSTOOD))}", ", ".join(unknown), "leave it out of the YAML")
    until = arguments.get("until") or ()
    stops = tuple(until) if isinstance(until, list | tuple) else (until,)
    given = [arguments[name] for name in _LENGTH_NAMES if arguments.get(name) is not None]
    length = given[0] if given else _DEFAULT_LENGTH
    if not all(isinstance(stop, str) for stop in stops):
        raise _refused(task, "have texts in `until`", repr(until), "put it into quotes")
    is_whole = isinstance(length, int) or (isinstance(length, float) and length.is_integer())
    if isinstance(length, bool) or not is_whole or length < 1:
        raise _refused(task, "have a whole number of tokens, at least 1", repr(length), "correct `max_gen_toks`")
    return Limits(tuple(stop for stop in stops if stop), int(length))


def _refused(task: str, must: str, found: str, remedy: str) -> UserError:
    return UserError(f"`generation_kwargs` must {must}", found=found, where=f"task {task}", remedy=remedy)
