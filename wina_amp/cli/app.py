"""The commands of `wina-amp`, with their options; the work is in modules that are imported when asked for.

That keeps `wina-amp --help` fast: torch and transformers are loaded by the commands that need them. Exit codes: 0 done,
2 something for the user to correct (one paragraph on standard error), 1 a bug of the program, with its traceback.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Annotated, cast

import typer

from wina_amp.cli.output import show_json
from wina_amp.errors import UserError
from wina_amp.names import AUTO, BACKENDS, DTYPES, PREFILLS, Prefill

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Profile sets that make generate() of language models sparse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Set = Annotated[str, typer.Argument(metavar="SET", help="Folder of a profile set, or owner/name on the hub.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="wina-amp")
    except (UserError, MemoryError, OSError, RuntimeError) as error:
        said = error if isinstance(error, UserError) else _of_the_machine(error)
        if said is None:
            raise
        text = textwrap.fill(str(said), width=100, break_long_words=False, break_on_hyphens=False)
        sys.stderr.write(f"\n{text}\n\n")
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


@app.command(epilog="Example: wina-amp inspect data/profile_sets/kl")
def inspect(profile_set: Set, as_json: AsJson = False) -> None:
    """Show the groups, router, targets, measurements and thresholds of a profile set."""
    from wina_amp.cli.inspect import facts, show

    result = facts(profile_set)
    show_json(result) if as_json else show(result)


@app.command(epilog="Example: wina-amp doctor --json")
def doctor(as_json: AsJson = False) -> None:
    """Show what is installed here, what can run sparse, and whether the hub can be asked."""
    from wina_amp.cli.doctor import facts, show

    result = facts()
    show_json(result) if as_json else show(result)


@app.command(epilog="Example: wina-amp push data/profile_sets/kl owner/name --private")
def push(
    profile_set: Set,
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the hub; made if missing.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a profile set, with its card, to the Hugging Face Hub."""
    from wina_amp import ProfileSet

    address = ProfileSet.from_pretrained(profile_set).push_to_hub(repository, private=private or None)
    show_json({"commit": address}) if as_json else typer.echo(address)


@app.command(epilog='Example: wina-amp generate MODEL --set SET --sparsity 0.5 "The capital of France is"')
def generate(
    model: Annotated[str, typer.Argument(help="Folder of a checkpoint, or owner/name on the hub.")],
    prompts: Annotated[list[str], typer.Argument(help="Prompts; several are one batch.")],
    profile_set: Annotated[str, typer.Option("--set", help="Folder of a profile set, or owner/name.")],
    sparsity: Annotated[float, typer.Option(help="One of the set's target sparsities.")] = 0.5,
    tokens: Annotated[int, typer.Option(min=1, help="Most new tokens.")] = 32,
    prefill: Annotated[str, typer.Option(help=f"How prompts run: {', '.join(PREFILLS)}.")] = "sparse",
    backend: Annotated[str, typer.Option(help=f"How decode steps run: {', '.join((AUTO, *BACKENDS))}.")] = AUTO,
    dtype: Annotated[str, typer.Option(help=f"Of the weights: {', '.join(DTYPES)}.")] = "float32",
    revision: Annotated[str, typer.Option(help="Commit, tag or branch of a model of the hub.")] = "main",
    as_json: AsJson = False,
) -> None:
    """Continue prompts, dense and sparse side by side."""
    from wina_amp.cli.generate import continuations, show

    result = continuations(
        model,
        prompts,
        profile_set,
        sparsity=sparsity,
        tokens=tokens,
        prefill=cast(Prefill, prefill),
        backend=backend,
        dtype=dtype,
        revision=revision,
    )
    show_json(result) if as_json else show(result)


@app.command("eval", epilog="Example: wina-amp eval my-model --set data/profile_sets/kl --tasks arc_easy,piqa")
def evaluate(
    model: Annotated[str, typer.Argument(help="Folder of a checkpoint, or owner/name on the hub.")],
    profile_set: Annotated[str, typer.Option("--set", help="Folder of a profile set, or owner/name.")],
    tasks: Annotated[str, typer.Option(help="Tasks of lm-eval, separated by commas.")],
    sparsity: Annotated[float, typer.Option(help="One of the set's target sparsities.")] = 0.5,
    group: Annotated[str | None, typer.Option(help="Profile of all prompts, by name; default: each is routed.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many documents of every task.")] = None,
    include_path: Annotated[Path | None, typer.Option(help="A folder with tasks of your own.")] = None,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[str, typer.Option(help=f"Of the weights: {', '.join(DTYPES)}.")] = "float32",
    output: Annotated[Path | None, typer.Option(help="A file that gets the result as JSON, too.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score a model with a profile set on tasks of lm-eval."""
    from wina_amp.cli.evaluate import evaluate as run
    from wina_amp.cli.evaluate import show, write

    result = run(
        model,
        profile_set,
        tasks.split(","),
        sparsity=sparsity,
        group=group,
        limit=limit,
        include_path=include_path,
        device=device,
        dtype=dtype,
    )
    if output is not None:
        write(result, output)
    show_json(result) if as_json else show(result)


@app.command(epilog="Example: wina-amp import-gguf model-Q4_K_M.gguf model")
def import_gguf(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A GGUF file.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    as_json: AsJson = False,
) -> None:
    """Dequantise a GGUF file to a checkpoint in float32, which transformers and this package load."""
    from wina_amp.cli.import_gguf import import_gguf as convert

    result = convert(file, folder)
    show_json(result) if as_json else typer.echo("\n".join(f"{name}: {value}" for name, value in result.items()))


@app.command(epilog="Example: wina-amp export-thresholds data/profile_sets/kl kl.csv")
def export_thresholds(
    profile_set: Set,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: a .json or .csv file.")],
) -> None:
    """Write the thresholds of a profile set as plain JSON or CSV."""
    from wina_amp.cli.thresholds import export

    export(profile_set, file)
    typer.echo(str(file))


def _of_the_machine(error: Exception) -> UserError | None:
    """A sentence for memory that has run out and for files that cannot be read or written; None for any other error."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        remedy = "close other programs, take fewer prompts or tokens, or `--dtype bfloat16`"
        return UserError("The work must fit into memory", found=text, where="this machine", remedy=remedy)
    if isinstance(error, OSError) and error.filename:
        must, remedy = "Files must be readable and writable", "correct the name or the permissions, or free space"
        return UserError(must, found=error.strerror or text, where=str(error.filename), remedy=remedy)
    return None
