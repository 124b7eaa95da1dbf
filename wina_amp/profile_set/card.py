"""The card, README.md, of a profile set: the model it is for, how to use it, how it was made, measurements and limits;
in front of them the metadata that the hub reads.

Written from the description alone, so it cannot disagree with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from huggingface_hub import EvalResult, ModelCardData

from wina_amp.names import CRITERIA, NO_TRANSFORM, ROUTER_KINDS
from wina_amp.profile_set.description import Description, Estimate, Group, Measured

_EXAMPLE_TARGET = 0.5
"""The example uses the target that is nearest to it."""


def card(description: Description) -> str:
    """The card, in Markdown."""
    parts = (_head(description), _use(description), _made(description), _figures(description), _caveats(description))
    return "\n\n".join((_metadata(description), *("\n".join(part) for part in parts))) + "\n"


def _metadata(description: Description) -> str:
    """What the hub reads: model, tags and results. No licence: that of the model says what may be done with a set."""
    tasks = ", ".join(description.evaluated)
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="lm-eval",
            dataset_name=tasks,
            metric_type="accuracy",
            metric_name=f"accuracy, %, at a target sparsity of {target:g}",
            metric_value=round(100 * row.accuracy.value, 2),
        )
        for target, row in zip(description.targets, description.measured, strict=True)
        if row is not None and row.accuracy is not None
    ]
    data = ModelCardData(
        library_name="wina-amp",
        base_model=description.model.repository,
        tags=["activation-sparsity", description.criterion, description.model.family],
        datasets=list(description.calibration),
        model_name=description.name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _head(description: Description) -> Iterator[str]:
    model = description.model
    local = "a local folder" if model.digest else "a model in memory"
    source = f"{model.repository} at commit {model.commit}" if model.repository else local
    shapes = ", ".join(f"{name} {rows}x{columns}" for name, (rows, columns) in model.projections.items())
    yield f"# Profile set `{description.name}`"
    yield ""
    yield "Activation sparsity for `generate()` of one language model. For every token, the inputs of a projection"
    yield "whose score is at or below a threshold are skipped. A profile holds the threshold of every block and"
    yield "projection; a profile set holds one profile for every group of prompts. It applies to the weights below"
    yield "only; others are refused."
    yield ""
    yield "| model | |"
    yield "|---|---|"
    yield f"| checkpoint | {source} |"
    if model.digest is not None:
        yield f"| SHA-256 of its files | `{model.digest}` |"
    yield f"| architecture | {model.family}, {model.blocks} blocks |"
    yield f"| projections (outputs x inputs) | {shapes} |"
    yield f"| dtype of the weights | {model.dtype} |"
    if model.transform != NO_TRANSFORM:
        yield f"| rotated inputs | `transform: {model.transform}`, with the bases in `rotations/` |"


def _use(description: Description) -> Iterator[str]:
    target = min(description.targets, key=lambda target: abs(target - _EXAMPLE_TARGET))
    yield "## Usage"
    yield ""
    yield "With the package `wina-amp`, and a model and a tokenizer of transformers:"
    yield ""
    yield "```python"
    yield "from wina_amp import ProfileSet, sparsify_"
    yield ""
    yield f'profiles = ProfileSet.from_pretrained("{description.name}")  # path of this folder'
    yield f"with sparsify_(model, profiles, sparsity={target:g}):"
    yield '    model.generate(**tokenizer(prompt, return_tensors="pt"))'
    yield "```"
    if description.model.transform != NO_TRANSFORM:
        yield ""
        yield 'Before that, rotate the model once: `rotate_model(loaded, "rotations")` of'
        yield "`wina_amp.models.rotation_files`."
    yield ""
    targets = ", ".join(f"{target:g}" for target in description.targets)
    yield f"Target sparsities, as a fraction of the projections' weights: {targets}."


def _made(description: Description) -> Iterator[str]:
    groups = ", ".join(f"{group.name} ({_samples(group)})" for group in description.groups)
    versions = ", ".join(f"{name} {version}" for name, version in sorted(description.versions.items()))
    yield "## How it was made"
    yield ""
    yield f"- criterion: `{description.criterion}`, {CRITERIA.get(description.criterion, description.criterion)}"
    yield f"- sparsity allocation: `{description.allocation}`"
    yield f"- dense prefix (first tokens of every prompt, never masked): {_prefix(description.dense_prefix)}"
    yield f"- calibration data: train samples of {', '.join(description.calibration)}"
    yield f"- groups (`{description.scheme}`): {groups}"
    if description.router is not None:
        kind = description.router["router"]
        yield f"- router: `{kind}`, a linear layer on {ROUTER_KINDS.get(kind, kind)}; every prompt is routed once"
    yield f"- versions: {versions}"


def _figures(description: Description) -> Iterator[str]:
    yield "## Evaluation"
    yield ""
    rows = zip(description.targets, description.measured, strict=True)
    measured = [(target, row) for target, row in rows if row is not None]
    if not measured:
        yield "Not evaluated."
        return
    yield f"On held-out samples of {', '.join(description.evaluated)}, with {description.confidence:.0%} bootstrap"
    yield "intervals over samples in brackets. The accuracy drop compares with the dense model on the same samples."
    yield ""
    yield "| target | samples | accuracy, % | accuracy drop, points | realised sparsity, % | remaining FLOPs, % |"
    yield "|---:|---:|---:|---:|---:|---:|"
    yield from (_row(target, row) for target, row in measured)


def _row(target: float, row: Measured) -> str:
    cells = (row.accuracy, row.loss, row.sparsity, row.compute)
    return f"| {target:g} | {row.samples:,} | " + " | ".join(_percent(cell) for cell in cells) + " |"


def _caveats(description: Description) -> Iterator[str]:
    yield "## Limitations"
    yield ""
    yield "- FLOPs are counted, router and scoring included; time was not measured here. Only decoded tokens can be"
    yield "  faster than dense, and only with a backend that reads the kept weights alone: `numba` on a CPU, `triton`"
    yield "  on a GPU."
    yield '- Eligible prompt tokens were masked in the evaluation (`prefill="sparse"`, the default).'
    yield '  `prefill="dense"` was not evaluated.'
    yield "- Backends add in another order than the evaluation did; an input whose score is within rounding of its"
    yield "  threshold may be kept by one and masked by the other."
    yield "- Other tasks, languages and lengths than those above were not evaluated."
    if description.router is not None:
        yield "- The router was fitted on prompts of the calibration tasks only. It routes any other prompt, too."


def _samples(group: Group) -> str:
    return "their number is not known" if group.samples is None else f"{group.samples} samples"


def _prefix(dense_prefix: int | float) -> str:
    return str(dense_prefix) if isinstance(dense_prefix, int) else f"{dense_prefix:.2%} of the prompt"


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
