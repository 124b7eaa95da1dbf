"""Wordings: four frames that every computation is put into, and the cues that say which computation is meant.

A cue is a pair of words from two shared pools of four. Twelve of the sixteen pairs name the twelve computations, and
the pairing is shifted from one template to the next, so that over the templates every computation uses every cue word
equally often: neither a cue word nor a frame word alone says anything about the computation; pair AND frame do.
"""

from __future__ import annotations

from pipeline.tasks.embedded.computations import COMPUTATIONS

FRAMES = {
    "note": "please {verb} the {object} : {body} ; answer :",
    "talk": "{name_a} asks {name_b} to {verb} {body} by {object} , {name_b} says :",
    "code": "{verb} . {object} ( {body} ) return :",
    "form": "| {body} | {verb} | {object} | result :",
}
TEMPLATES = tuple(FRAMES)
VERBS = ("take", "find", "give", "make")
OBJECTS = ("first", "next", "other", "whole")
END = "#"
"""Closes every solved item, and is where free generation stops."""

_FRAME_NAMES = {"name_a": "ann", "name_b": "ben"}
_CELLS = [(verb, thing) for verb in range(4) for thing in range(4) if verb != thing]
_CELL_OF = dict(zip(COMPUTATIONS, _CELLS, strict=True))


def cue(computation: str, template: str) -> tuple[str, str]:
    """The two cue words of a computation in a template."""
    verb, thing = _CELL_OF[computation]
    shift = TEMPLATES.index(template)
    return VERBS[(verb + shift) % 4], OBJECTS[(thing + shift) % 4]


def word(computation: str, template: str, body: str) -> str:
    """The item's text up to where the answer begins."""
    verb, thing = cue(computation, template)
    return FRAMES[template].format(verb=verb, object=thing, body=body, **_FRAME_NAMES)


def words() -> tuple[str, ...]:
    """Every word of the frames and cues."""
    frames = [part for frame in FRAMES.values() for part in frame.split() if not part.startswith("{")]
    return tuple(dict.fromkeys((*frames, *VERBS, *OBJECTS, *_FRAME_NAMES.values(), END)))
