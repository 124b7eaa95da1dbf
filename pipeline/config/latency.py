"""The section `latency` of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.fields import setting


@dataclass(frozen=True)
class LatencySettings:
    """What is timed, where sparse decoding can win at all (docs/method.md, section Latency)."""

    methods: tuple[str, ...] | None = setting("methods that are timed; null takes all that can decode")
    contexts: tuple[int, ...] = setting("tokens in front of the decoded ones", low=1)
    batches: tuple[int, ...] = setting("sequences that are decoded at a time", low=1, high=8)
    steps: int = setting("decoded tokens that are timed for every context and batch", low=4)
    answer_tokens: int = setting("tokens of an answer, over which the time of routing its prompt is spread", low=1)
    threads: int = setting("threads of both sides on a CPU", low=1)
    cache_mb: float | None = setting(
        "size of the last-level cache in MB; null asks the machine (a virtual one may name a cache that it shares)",
        above=0,
    )
