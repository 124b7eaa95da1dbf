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

from wina_amp.cli.output import show_json, show_line, show_lines
from wina_amp.errors import UserError
from wina_amp.names import AUTO, BACKENDS, DTYPES, GREEDY, PREFILLS, WINA, Prefill

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="Profile sets that make generate() of language models sparse.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Set = Annotated[str, typer.Argument(metavar="SET", help="Folder of a profile set, or owner/name on the hub.")]
Model = Annotated[str, typer.Argument(help="Folder of a checkpoint, or owner/name on the hub.")]
Target = Annotated[float, typer.Option(help="One of the set's target sparsities.")]
Targets = Annotated[str, typer.Option(help="Target sparsities, separated by commas.")]
SetOption = Annotated[str, typer.Option("--set", help="Folder of a profile set, or owner/name.")]
Backend = Annotated[str, typer.Option(help=f"How decode steps run: {', '.join((AUTO, *BACKENDS))}.")]
Dtype = Annotated[str, typer.Option(help=f"Of the weights: {', '.join(DTYPES)}.")]
Revision = Annotated[str, typer.Option(help="Commit, tag or branch of a model of the hub.")]
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
    model: Model,
    prompts: Annotated[list[str], typer.Argument(help="Prompts; several are one batch.")],
    profile_set: SetOption,
    sparsity: Target = 0.5,
    tokens: Annotated[int, typer.Option(min=1, help="Most new tokens.")] = 32,
    prefill: Annotated[str, typer.Option(help=f"How prompts run: {', '.join(PREFILLS)}.")] = "sparse",
    backend: Backend = AUTO,
    dtype: Dtype = "float32",
    revision: Revision = "main",
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


@app.command(epilog="Example: wina-amp calibrate MODEL alpaca.json my-set --columns instruction,output --groups 4")
def calibrate(
    model: Model,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Texts: a .txt, .jsonl, .json or .parquet file.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder for the profile set.")],
    criterion: Annotated[str, typer.Option(help="How features are scored: wina, teal, wina_released.")] = WINA,
    allocation: Annotated[str, typer.Option(help="How sparsity is spread: uniform, greedy, kl.")] = GREEDY,
    sparsity: Targets = "0.4,0.5,0.65",
    columns: Annotated[str, typer.Option(help="Columns of DATA: of the text, or of prompt and answer.")] = "",
    samples: Annotated[int, typer.Option(min=1, help="Most samples, the first of DATA.")] = 128,
    length: Annotated[int, typer.Option(min=2, help="Most tokens of a sample.")] = 512,
    groups: Annotated[int, typer.Option(min=1, help="Clusters of prompts with profiles of their own.")] = 1,
    dtype: Dtype = "float32",
    revision: Revision = "main",
    as_json: AsJson = False,
) -> None:
    """Make a profile set of a model from a file of texts."""
    from wina_amp.cli.calibrate import calibrate_file

    result = calibrate_file(
        model,
        data,
        folder,
        columns=[column for column in columns.split(",") if column],
        criterion=criterion,
        allocation=allocation,
        sparsity=_numbers(sparsity),
        samples=samples,
        length=length,
        groups=groups,
        dtype=dtype,
        revision=revision,
        progress=not as_json,
    )
    show_json(result) if as_json else show_lines(result)


@app.command(epilog="Example: wina-amp chat MODEL my-set --sparsity 0.5")
def chat(
    model: Model,
    profile_set: Set,
    sparsity: Target = 0.5,
    tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 256,
    backend: Backend = AUTO,
    dtype: Dtype = "float32",
    revision: Revision = "main",
    as_json: AsJson = False,
) -> None:
    """Talk to a sparse model, line by line; below every answer its group, realised sparsity and speed."""
    from wina_amp.cli.chat import show, turns

    for turn in turns(
        model,
        profile_set,
        sparsity=sparsity,
        tokens=tokens,
        backend=backend,
        dtype=dtype,
        revision=revision,
        is_shown=not as_json,
    ):
        show_line(turn) if as_json else show(turn)


@app.command(epilog="Example: wina-amp bench MODEL my-set --sparsity 0.5 --threads 1")
def bench(
    model: Model,
    profile_set: Set,
    sparsity: Target = 0.5,
    prompt: Annotated[str, typer.Option(help="What is continued; default: a sentence.")] = "",
    tokens: Annotated[int, typer.Option(min=2, help="New tokens of a round.")] = 32,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds of dense and sparse, in turns.")] = 9,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads on a CPU; default: what torch takes.")] = None,
    backend: Backend = AUTO,
    dtype: Dtype = "float32",
    revision: Revision = "main",
    as_json: AsJson = False,
) -> None:
    """Time decoding on this machine, dense and sparse in turns."""
    from wina_amp.cli.bench import PROMPT, show
    from wina_amp.cli.bench import bench as run

    result = run(
        model,
        profile_set,
        sparsity=sparsity,
        prompt=prompt or PROMPT,
        tokens=tokens,
        rounds=rounds,
        threads=threads,
        backend=backend,
        dtype=dtype,
        revision=revision,
    )
    show_json(result) if as_json else show(result)


@app.command("eval", epilog="Example: wina-amp eval my-model --set data/profile_sets/kl --tasks arc_easy,piqa")
def evaluate(
    model: Model,
    profile_set: SetOption,
    tasks: Annotated[str, typer.Option(help="Tasks of lm-eval, separated by commas.")],
    sparsity: Target = 0.5,
    group: Annotated[str | None, typer.Option(help="Profile of all prompts, by name; default: each is routed.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many documents of every task.")] = None,
    include_path: Annotated[Path | None, typer.Option(help="A folder with tasks of your own.")] = None,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Dtype = "float32",
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
    show_json(result) if as_json else show_lines(result)


@app.command(epilog="Example: wina-amp import-teal TEAL/models/Llama-3-8B MODEL my-set --allocation greedy")
def import_teal(
    teal: Annotated[Path, typer.Argument(metavar="TEAL", help="TEAL's folder of a model: histograms, lookup.")],
    model: Annotated[str, typer.Argument(help="Folder of that checkpoint, or owner/name on the hub.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder for the profile set.")],
    allocation: Annotated[str, typer.Option(help="How sparsity is spread: uniform, greedy.")] = GREEDY,
    sparsity: Targets = "0.4,0.5,0.65",
    dtype: Dtype = "float32",
    revision: Revision = "main",
    as_json: AsJson = False,
) -> None:
    """Make a profile set of the histograms and greedy tables that TEAL's code writes."""
    from wina_amp.cli.import_teal import import_teal as convert

    result = convert(
        teal, model, folder, allocation=allocation, sparsity=_numbers(sparsity), dtype=dtype, revision=revision
    )
    show_json(result) if as_json else show_lines(result)


@app.command(epilog="Example: wina-amp export-thresholds data/profile_sets/kl kl.csv")
def export_thresholds(
    profile_set: Set,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: a .json or .csv file.")],
) -> None:
    """Write the thresholds of a profile set as plain JSON or CSV."""
    from wina_amp.cli.thresholds import export

    export(profile_set, file)
    typer.echo(str(file))


def _numbers(text: str) -> list[float]:
    """The numbers of an option."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        must, remedy = "--sparsity must be fractions, separated by commas", "write for example 0.4,0.5"
        raise UserError(must, found=text, where="--sparsity", remedy=remedy) from error


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
