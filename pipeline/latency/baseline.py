"""The strongest dense baseline: all ways to decode with the dense model are timed interleaved, and the fastest is kept.

Speed is never compared with eager alone. Tried are the ways of `steps.DENSE_WAYS`, and `unmasked`: the sparse backend
with nothing masked. Its kernel may be the better dense product (of a few tokens on a CPU it is), and what it gains over
torch's is not due to sparsity. Which is fastest depends on batch and context, so each of these has a baseline of its
own. A way that does not work here (no compiler, say) is left out, with its reason.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.latency.steps import Steps
from wina_amp.decode.interleaved import Spread, spread, time_interleaved

UNMASKED = "unmasked"

log = logging.getLogger("pipeline.latency")


@dataclass(frozen=True)
class Baseline:
    """The dense baseline of one batch and context.

    Attributes:
        way: name of the fastest.
        steps: its steps, ready.
        tried: name -> seconds of a step, of all that work.
        failed: name -> why it does not work here.
    """

    way: str
    steps: Steps
    tried: dict[str, Spread]
    failed: dict[str, str]


def strongest(candidates: Mapping[str, Steps], rounds: int, now: Callable[[], float]) -> Baseline:
    """The candidate with the lowest median time of a step.

    Args:
        candidates: name -> steps over the same tokens; the first must work.
        rounds: steps that count; there must be `interleaved.WARM` more.
        now: see `interleaved.clock`.

    Raises:
        RuntimeError: the first candidate does not work.
    """
    ready: dict[str, Steps] = {}
    failed: dict[str, str] = {}
    for name, steps in candidates.items():
        try:
            steps.get_ready()
        except RuntimeError as error:
            if not ready:
                raise
            failed[name] = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("the dense model is not timed %s: %s", name, failed[name])
            continue
        ready[name] = steps
    for steps in ready.values():
        steps.begin()
    seconds = time_interleaved(ready, rounds, now)
    for steps in ready.values():
        steps.close()
    tried = {name: spread(values) for name, values in seconds.items()}
    fastest = min(tried, key=lambda name: tried[name].median)
    return Baseline(fastest, ready[fastest], tried, failed)
