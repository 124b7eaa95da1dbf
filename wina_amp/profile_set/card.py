"""README.md of a profile set: what it is, for which model, what it does and does not do, and how to use it.

Written from the description alone, so it cannot disagree with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from wina_amp.names import CRITERIA, NO_TRANSFORM, ROUTER_KINDS
from wina_amp.profile_set.description import Description, Estimate, Measured

_SHOWN = 0.5
"""The target in the example, or the nearest to it."""


def card(description: Description) -> str:
    """The text of the file, Markdown."""
    parts = (_head(description), _use(description), _made(description), _figures(description), _caveats(description))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(one: Description) -> Iterator[str]:
    model = one.model
    source = f"{model.repository} at commit {model.commit}" if model.repository else "a local folder"
    maps = ", ".join(f"{name} {rows}x{columns}" for name, (rows, columns) in model.maps.items())
    yield f"# Profile set `{one.name}`"
    yield ""
    yield "Thresholds that make `generate()` of one language model sparse: inputs of its linear maps that score at or"
    yield "below them are skipped, token by token. They mean nothing on other weights, which are refused."
    yield ""
    yield "| for the model | |"
    yield "|---|---|"
    yield f"| checkpoint | {source} |"
    yield f"| SHA-256 of its files | `{model.digest}` |"
    yield f"| family | {model.family}, {model.blocks} blocks |"
    yield f"| linear maps | {maps} |"
    yield f"| weights loaded in | {model.dtype} |"
    if model.transform != NO_TRANSFORM:
        yield f"| inputs rotated | `transform: {model.transform}`, by the bases in `rotations/` |"


def _use(one: Description) -> Iterator[str]:
    target = min(one.targets, key=lambda target: abs(target - _SHOWN))
    yield "## Use"
    yield ""
    yield "In a checkout of WINA-AMP, with a model and a tokenizer of transformers:"
    yield ""
    yield "```python"
    yield f'profile_set = ProfileSet.load("{one.name}")  # this folder; from wina_amp.profile_set.profile_set'
    yield f"with profile_set.installed(model, target={target:g}):"
    yield '    model.generate(**tokenizer(prompt, return_tensors="pt"))'
    yield "```"
    if one.model.transform != NO_TRANSFORM:
        yield ""
        yield 'Before, once: `rotate_model(loaded, "rotations")` of `wina_amp.models.rotation_files`.'
    yield ""
    yield f"Targets: {', '.join(f'{target:g}' for target in one.targets)} of the projections' weights."


def _made(one: Description) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    yield f"- score of an input: {CRITERIA.get(one.criterion, one.criterion)} (`{one.criterion}`)"
    yield f"- sparsity spread over the projections: `{one.allocation}`"
    yield f"- first tokens of every prompt that stay dense: {_prefix(one.dense_prefix)}"
    yield f"- calibration: train samples of {', '.join(one.calibration)}"
    yield f"- groups (`{one.scheme}`): " + ", ".join(f"{group.name} ({group.samples} samples)" for group in one.groups)
    if one.router is not None:
        kind = one.router["router"]
        yield f"- router: `{kind}`, a linear layer on {ROUTER_KINDS.get(kind, kind)}; it picks a group once a prompt"
    yield f"- versions: {', '.join(f'{name} {version}' for name, version in sorted(one.versions.items()))}"


def _figures(one: Description) -> Iterator[str]:
    yield "## Measured"
    yield ""
    rows = [(target, row) for target, row in zip(one.targets, one.measured, strict=True) if row is not None]
    if not rows:
        yield "Nothing: the test split was not evaluated."
        return
    yield f"On held-out samples of {', '.join(one.evaluated)}; {one.confidence:.0%} bootstrap intervals over samples in"
    yield "brackets."
    yield ""
    yield (
        "| target | samples | accuracy, % | lost against dense, points | weights skipped, % "
        "| operations that remain, % |"
    )
    yield "|---:|---:|---:|---:|---:|---:|"
    yield from (_row(target, row) for target, row in rows)


def _row(target: float, row: Measured) -> str:
    cells = (row.accuracy, row.loss, row.sparsity, row.compute)
    return f"| {target:g} | {row.samples:,} | " + " | ".join(_percent(cell) for cell in cells) + " |"


def _caveats(one: Description) -> Iterator[str]:
    yield "## What the figures do not say"
    yield ""
    yield "- Operations are counted, router and scoring included; time was not measured here. Only decoded tokens can"
    yield "  be faster than dense, and only where a backend reads kept weights alone (`docs/performance.md`)."
    yield "- Eligible prompt tokens were masked (`prefill='sparse'`, the default). With `prefill='dense'` nothing was"
    yield "  measured."
    yield "- Backends sum in another order than the masks that were measured; an input whose score is within rounding"
    yield "  of its threshold may fall on the other side."
    yield "- Other tasks, languages and lengths than those above were not tried."
    if one.router is not None:
        yield "- The router was fitted on prompts of the calibration tasks only. It names a group for any other, too."


def _prefix(dense_prefix: int | float) -> str:
    return str(dense_prefix) if isinstance(dense_prefix, int) else f"{dense_prefix:.2%} of the prompt"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
