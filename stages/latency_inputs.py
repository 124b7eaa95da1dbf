"""Inputs of the stage `latency`: the methods that are timed, and their text, thresholds, groups and routers.

Not a stage. Everything here is decided without loading the model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.compute.sizes import sizes_of
from pipeline.config.consistency import why_not_decoded
from pipeline.config.params import Settings
from pipeline.profiles.profile import profile_array
from pipeline.storage.schemas import PROFILES
from stages.inputs import paths
from stages.inputs.groups import groups_of
from wina_amp.errors import UserError
from wina_amp.models.integrity import config_of
from wina_amp.models.source import config_folder

if TYPE_CHECKING:
    import torch

    from pipeline.latency.timing import Profiled, Work


Key = tuple[str, float]
"""Method and target."""


@dataclass(frozen=True)
class Timed:
    """The methods that are timed, or the reason why none is.

    Attributes:
        methods: names of the methods that can decode.
        skipped: name -> why it cannot, of the others that the settings name.
        reason: why nothing is timed after all, as the end of a sentence; None if something is.
        weights: bytes of the weights that masks act on.
        cache: bytes of the last-level cache; None: unknown.
        device: where.
    """

    methods: tuple[str, ...]
    skipped: dict[str, str]
    reason: str | None
    weights: int
    cache: int | None
    device: torch.device


def what_is_timed(settings: Settings) -> Timed:
    """Decide from the settings, the checkpoint's config.json and the machine.

    Raises:
        UserError: there is no config.json, or its family has no row; no GPU where the settings ask for it.
    """
    import torch

    from pipeline.latency.machine import last_level_cache
    from pipeline.latency.refusal import why_not_timed
    from wina_amp.models.placement import choose_device

    model, latency = settings.model, settings.latency
    sizes = sizes_of(config_of(config_folder(model.path, model.revision)))
    device, dtype = choose_device(model.device), getattr(torch, model.dtype)
    weights = sizes.blocks * sizes.block_weights * dtype.itemsize
    cache = last_level_cache(device) if latency.cache_mb is None else int(latency.cache_mb * 1e6)
    named = settings.methods if latency.methods is None else {name: settings.methods[name] for name in latency.methods}
    why_not = {name: why_not_decoded(method, settings.profiles[method.profile]) for name, method in named.items()}
    methods = tuple(name for name, reason in why_not.items() if reason is None)
    skipped = {name: reason for name, reason in why_not.items() if reason is not None}
    if not methods:
        reason = "no method can decode on a backend that skips weights"
    elif model.device == "spread":
        reason = "the model is spread over several GPUs, and sparse decoding runs on one device"
    else:
        reason = why_not_timed(device.type, dtype, max(latency.batches), weights=weights, cache=cache)
    return Timed(methods, skipped, reason, weights, cache, device)


def decoded_work(settings: Settings, samples: Any, cache: int) -> Work:
    """The text of the samples, in the contexts and batches of the settings, on a machine of so many bytes of cache."""
    from pipeline.latency.timing import Work

    latency = settings.latency
    return Work(
        prompts=samples["prompt_ids"].tolist(),
        contexts=latency.contexts,
        batches=latency.batches,
        steps=latency.steps,
        answer_tokens=latency.answer_tokens,
        cache=cache,
        dense_prefix=settings.tokens.dense_prefix,
    )


def profiled_methods(settings: Settings, samples: Any, names: Iterable[str]) -> dict[Key, Profiled]:
    """Every one of these methods at every target, with what it needs to run; samples are those of `decoded_work`.

    Raises:
        UserError: a table or a router is out of date.
    """
    import torch

    from pipeline.latency.timing import Profiled
    from wina_amp.routing.router import load_router

    profiled: dict[Key, Profiled] = {}
    for name in names:
        method = settings.methods[name]
        table: Any = PROFILES.read(paths.profiles(method.profile))
        groups = groups_of(samples, method.groups_from)["group"].to_numpy()
        router = load_router(paths.router_weights(method.groups)) if method.groups != "assigned" else None
        for target in settings.evaluate.targets:
            thresholds = torch.from_numpy(profile_array(table, target, "threshold"))
            profiled[name, target] = Profiled(settings.profiles[method.profile].criterion, thresholds, groups, router)
    return profiled


def check_contexts(settings: Settings) -> None:
    """Raise a `UserError` where the longest context and the steps behind it are more tokens than the model takes."""
    from wina_amp.decode.interleaved import WARM
    from wina_amp.models.context import load_context

    latency, model = settings.latency, settings.model
    longest = max(latency.contexts) + WARM + latency.steps
    limit = load_context(model.path, revision=model.revision, remote_code=model.remote_code)
    if longest > limit:
        raise UserError(
            f"A context with {WARM + latency.steps} decoded tokens behind it must fit the model's {limit} tokens",
            found=f"{max(latency.contexts)} + {WARM + latency.steps}",
            where="`latency.contexts` in params.yaml",
            remedy="name shorter contexts, or fewer `latency.steps`",
        )
