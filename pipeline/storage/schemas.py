"""Every table of the pipeline, column by column. `docs/tables.md` is generated from this module.

The words are those of the design: a *sample* is one benchmark item as the model sees it, a *site* is an activation that
one or more projections read (`qkv` is read by q, k and v), a *group* is a set of samples that share a profile.
"""

from __future__ import annotations

from pipeline.storage.tables import Column, Table
from wina_amp.names import SAMPLE_KINDS, SPLITS

_SAMPLE_ID = Column("sample_id", "string", "`task/split/doc_id`, unique over the benchmark")
_SPLIT = Column(
    "split", "string", "train: calibration; test: held out; confirmation: held out, run once", values=tuple(SPLITS)
)
_BLOCK = Column("block", "int16", "decoder layer, from 0", low=0)
_PROJECTION = Column("projection", "string", "canonical name: q k v o gate up down, or fused qkv gate_up; cats: down")
_CRITERION = Column("criterion", "string", "how an input feature is scored: teal, wina, learned, ...")
_SCHEME = Column("scheme", "string", "the way samples were assigned to groups")
_GROUP = Column("group", "int32", "group number within the scheme, from 0", low=0)
_TARGET = Column("target", "float64", "model-wide target sparsity, as a fraction of the weights gated", low=0, high=1)
_PROFILE = Column("profile", "string", "name of the profile set in params.yaml")
_METHOD = Column("method", "string", "name of the method in params.yaml")
_TASK = Column("task", "string", "lm-eval task name")
_SPLIT_OF_SAMPLE = Column("split", "string", "split of the sample", values=tuple(SPLITS))
_COUNTED_FROM = "scores in the bins from `first_bin` to the highest that is not empty"
_FIRST_BIN = Column(
    "first_bin", "int16", "index of the lowest bin that is not empty (wina_amp/histograms/bins.py)", low=0
)

SAMPLES = Table(
    "samples",
    "One row per benchmark item as the model sees it.",
    key=("sample_id",),
    columns=(
        _SAMPLE_ID,
        _TASK,
        _SPLIT,
        Column("doc_id", "int32", "row of the document in the task's split", low=0),
        Column("doc_hash", "string", "SHA-256 of the document's canonical JSON; ties lm-eval requests to samples"),
        Column(
            "kind",
            "string",
            "choice: the likeliest; generation: exact match; text: perplexity only",
            values=tuple(SAMPLE_KINDS),
        ),
        Column("subject", "string", "subject label: the document's, or its task's within a group; else empty"),
        Column("computation", "string", "embedded benchmark: what must be computed; elsewhere empty"),
        Column("template", "string", "embedded benchmark: the wording; elsewhere empty"),
        Column("shots", "int16", "solved examples in front of the question (the length label)", low=0),
        Column("prompt", "string", "text of the prompt"),
        Column("choices", "list<string>", "continuations as text; empty for generation and text"),
        Column("target", "int16", "index of the right choice; -1 for generation and text", low=-1),
        Column("answer", "string", "text of the right continuation; of text, what is scored"),
        Column("prompt_ids", "list<int32>", "token ids of the prompt, BOS included where the tokenizer adds one"),
        Column("answer_ids", "list<int32>", "token ids of the right continuation"),
        Column("n_tokens", "int32", "number of prompt tokens", low=1),
    ),
)

SAMPLE_COUNTS = Table(
    "sample_counts",
    "How many samples each task gave, and what was passed over.",
    key=("task", "split"),
    columns=(
        _TASK,
        _SPLIT,
        Column("wanted", "int32", "samples asked for", low=1),
        Column("taken", "int32", "samples there are", low=1),
        Column("too_long", "int32", "items left out because they are longer than the model's context", low=0),
        Column("in_both_splits", "int32", "samples whose question stands in another split, too", low=0),
        Column("contradicting", "int32", "samples whose question stands elsewhere with another right answer", low=0),
    ),
)

HISTOGRAMS = Table(
    "histograms",
    "Score histograms of the train-split samples, as a folder of Parquet parts. Exact below 2^17 scores; of longer "
    "samples cumulative counts are multiples of a power of two, at most 2^-16 of the scores "
    "(pipeline/histograms/count_units.py).",
    key=("sample_id", "block", "projections", "criterion"),
    columns=(
        _SAMPLE_ID,
        _BLOCK,
        Column(
            "projections",
            "string",
            "canonical names with spaces between: those whose histogram this is, because their scores are the same",
        ),
        _CRITERION,
        _FIRST_BIN,
        Column("counts", "list<int32>", _COUNTED_FROM, low=0),
    ),
)

SIGNATURES = Table(
    "signatures",
    "Which features fire, as a folder of Parquet parts: per sample and site, a seeded random projection of the mean "
    "score of every feature.",
    key=("sample_id", "block", "site"),
    columns=(
        _SAMPLE_ID,
        _BLOCK,
        Column("site", "string", "activation that was observed: qkv, o, gate_up, down"),
        Column("n_tokens", "int32", "eligible prompt tokens the mean was taken over", low=1),
        Column("vector", "list<float32>", "the projected profile, `capture.signature_dim` numbers"),
    ),
)

FEATURE_WEIGHTS = Table(
    "feature_weights",
    "What the input features of every projection are worth, for the criterion `learned`; no rows where it is not used.",
    key=("block", "projection"),
    columns=(
        _BLOCK,
        _PROJECTION,
        Column("weights", "list<float32>", "factor of every feature's magnitude in its score", low=0),
    ),
)

ASSIGNMENTS = Table(
    "assignments",
    "One file per scheme: the group of every sample. Test samples are assigned by rules fitted on train samples only.",
    key=("scheme", "sample_id"),
    columns=(
        _SCHEME,
        _SAMPLE_ID,
        _SPLIT_OF_SAMPLE,
        _GROUP,
        Column(
            "distance", "float64", "distance to the group's centre in clustering space; 0 where there is none", low=0
        ),
    ),
)

CLUSTER_MAP = Table(
    "cluster_map",
    "Two-dimensional UMAP coordinates of the signatures that the report's map shows: all, or 2,500 of more.",
    key=("sample_id",),
    columns=(_SAMPLE_ID, Column("x", "float64", "first coordinate"), Column("y", "float64", "second coordinate")),
)

CLUSTER_VARIANTS = Table(
    "cluster_variants",
    "The groups that the same clustering finds in other signatures: those of one block, or with prompt length removed.",
    key=("variant", "block", "sample_id"),
    columns=(
        Column(
            "variant",
            "string",
            "block: signatures of one block; length_removed: log prompt length regressed out of all",
            values=("block", "length_removed"),
        ),
        Column("block", "int16", "decoder layer, from 0; -1 for all blocks", low=-1),
        _SAMPLE_ID,
        _GROUP,
    ),
)

GROUP_HISTOGRAMS = Table(
    "group_histograms",
    "The merge of the histograms of a group's train samples (one file per scheme).",
    key=("scheme", "group", "block", "projection", "criterion"),
    columns=(
        _SCHEME,
        _GROUP,
        _BLOCK,
        _PROJECTION,
        _CRITERION,
        Column("n_samples", "int32", "train samples merged", low=1),
        _FIRST_BIN,
        Column("counts", "list<int64>", _COUNTED_FROM, low=0),
    ),
)

ALLOCATIONS = Table(
    "allocations",
    "Target sparsity of every projection (one file per profile set).",
    key=("profile", "group", "target", "block", "projection"),
    columns=(
        _PROFILE,
        _GROUP,
        _TARGET,
        _BLOCK,
        _PROJECTION,
        Column("sparsity", "float64", "sparsity given to this projection", low=0, high=1),
        Column(
            "predicted_error",
            "float64",
            "block output error (greedy); loss in nats per text (kl, and on held-out texts groups that start from a "
            "pooled allocation); NaN where the allocator predicts none",
            nullable=True,
        ),
        Column(
            "strength",
            "float64",
            "how far the group went from the pooled allocation (0) to its own (1); NaN where it began elsewhere",
            low=0,
            high=1,
            nullable=True,
        ),
    ),
)

ALLOCATION_COSTS = Table(
    "allocation_costs",
    "The cost of finding the allocations (one file per profile set).",
    key=("profile", "group"),
    columns=(
        _PROFILE,
        _GROUP,
        Column(
            "tokens",
            "float64",
            "tokens through the whole model: of every run, its tokens (padding included) times the fraction of the "
            "weights they were multiplied with; a backward pass counts two. `uniform` runs nothing",
            low=0,
        ),
        Column("evaluations", "int64", "objectives computed: block errors of `greedy`, losses of `kl`", low=0),
    ),
)

PROFILES = Table(
    "profiles",
    "Score thresholds of every projection (one file per profile set): scores at or below it are masked.",
    key=("profile", "group", "target", "block", "projection"),
    columns=(
        _PROFILE,
        _GROUP,
        _TARGET,
        _BLOCK,
        _PROJECTION,
        Column("sparsity", "float64", "the allocation's, which the threshold is to meet", low=0, high=1),
        Column("threshold", "float32", "scores must exceed this to be kept", low=0),
    ),
)

ROUTES = Table(
    "routes",
    "The route of every sample (one file per router).",
    key=("router", "sample_id"),
    columns=(
        Column("router", "string", "name of the router"),
        _SAMPLE_ID,
        _GROUP,
        Column(
            "probabilities",
            "list<float32>",
            "softmax of the router's outputs: the probability of each group; for a benefit router, of the predicted "
            "benefits, the pooled profile's (its margin) last",
        ),
        Column("flops", "float64", "floating-point operations the router needs for this prompt", low=0),
    ),
)

HELD_OUT = Table(
    "held_out",
    "The route of every test sample by a router that was fitted without the train samples of its label (one file per "
    "router).",
    key=("label", "sample_id"),
    columns=(
        Column("label", "string", "task or template", values=("task", "template")),
        _SAMPLE_ID,
        Column("group", "int32", "group that this router predicts", low=0),
    ),
)

BENEFITS = Table(
    "benefits",
    "The benefit of every group's profile over the pooled one for a sample, averaged over `route.benefit_targets` (one "
    "file per benefit router, see pipeline/routing/benefits.py): all train samples, and as many test samples, which no "
    "benefit router is fitted on.",
    key=("sample_id",),
    columns=(
        _SAMPLE_ID,
        _SPLIT_OF_SAMPLE,
        Column(
            "benefits",
            "list<float64>",
            "of every group: log((KL of pooled + e) / (KL of group + e)), see pipeline/routing/benefits.py",
        ),
    ),
)

RESULTS = Table(
    "results",
    "Evaluation of one method, sample by sample (one file per method).",
    key=("method", "target", "sample_id"),
    columns=(
        _METHOD,
        _TARGET,
        Column("split", "string", "train rows leak: profiles were built on them", values=tuple(SPLITS)),
        _SAMPLE_ID,
        Column("group", "int32", "group whose profile was used", low=0),
        Column(
            "score",
            "float64",
            "lm-eval's metric for the sample (acc or exact_match), 0 to 1; NaN for text",
            low=0,
            high=1,
            nullable=True,
        ),
        Column("correct", "bool", "score is 1; false for text"),
        Column(
            "loglikelihood",
            "float64",
            "of the right choice or the text, in nats, over the tokens of `answer_ids`; NaN for generation",
            nullable=True,
        ),
        Column(
            "margin",
            "float64",
            "log-likelihood of the right choice less the best wrong one, nats; NaN for generation and text",
            nullable=True,
        ),
        Column(
            "realised_sparsity",
            "float64",
            "fraction of all projections' weights that eligible tokens skip",
            low=0,
            high=1,
        ),
        Column(
            "sparsity_by_block",
            "list<float32>",
            "the same of every block's weights; 0 for the dense model",
            low=0,
            high=1,
        ),
        Column(
            "flops", "float64", "floating-point operations that remain, per `pipeline/compute/operations.py`", low=0
        ),
        Column("dense_flops", "float64", "the same for the dense model on the same tokens", low=0),
    ),
)

TIMINGS = Table(
    "timings",
    "Measured decode steps of every method that can decode, each interleaved with the dense baseline "
    "(pipeline/latency). No rows where sparse decoding cannot win; facts.json beside the table then has the "
    "reason, otherwise the machine. "
    "Times are of one run on one machine: no two runs agree in them.",
    key=("method", "target", "batch", "context"),
    columns=(
        _METHOD,
        _TARGET,
        Column("batch", "int16", "sequences decoded at a time", low=1),
        Column("context", "int32", "tokens in front of the first decoded one", low=1),
        Column("backend", "string", "what runs the projections of a sparse step (wina_amp/decode/backends.py)"),
        Column("way", "string", "how sparse steps are run", values=("eager", "graph")),
        Column("step_ms", "float64", "milliseconds of a sparse step (a token for every sequence): median", low=0),
        Column("step_ms_low", "float64", "lower quartile", low=0),
        Column("step_ms_high", "float64", "upper quartile", low=0),
        Column("router_ms", "float64", "to route the batch's prompts, once; 0 where groups are given", low=0),
        Column("ms_per_token", "float64", "`step_ms`, and `router_ms` over `latency.answer_tokens`", low=0),
        Column("tokens_per_second", "float64", "of the whole batch, by `ms_per_token`", low=0),
        Column(
            "dense_way",
            "string",
            "how the dense model runs fastest at this batch and context; unmasked: on the backend, nothing masked",
            values=("eager", "compiled", "graph", "unmasked"),
        ),
        Column("dense_ms", "float64", "of its step in the same rounds: median", low=0),
        Column("dense_ms_low", "float64", "lower quartile", low=0),
        Column("dense_ms_high", "float64", "upper quartile", low=0),
        Column("speedup", "float64", "dense over sparse with its part of routing, round by round: median", low=0),
        Column("speedup_low", "float64", "lower quartile", low=0),
        Column("speedup_high", "float64", "upper quartile", low=0),
        Column("skipped", "float64", "fraction of the projections' weights that no sequence needed", low=0, high=1),
        Column(
            "bytes_moved",
            "float64",
            "bytes a sparse step reads: kept and other weights, rotations, keys and values",
            low=0,
        ),
        Column("dense_bytes", "float64", "the same of a dense step, without rotations", low=0),
        Column("kernel_gb_per_second", "float64", "kept weights over the time of the projections alone", low=0),
        Column("copy_gb_per_second", "float64", "of a copy of memory interleaved with them, read and written", low=0),
        Column("load", "float64", "programs that wanted a core in the minute before", low=0),
        Column("device", "string", "name of the processor or GPU"),
    ),
)

DIFFERENCES = Table(
    "differences",
    "What the questions of a study are answered from (`python -m commands.confirm`): a row for every sample and refit. "
    "Means over rows of a refit are scores at matched compute (pipeline/protocol/differences.py).",
    key=("question", "refit", "sample_id"),
    columns=(
        Column("question", "string", "name in the study's protocol.yaml"),
        Column("refit", "int16", "which fit, from 0", low=0),
        _SAMPLE_ID,
        _TASK,
        Column("unit", "string", "what succeeds and fails together: the sample's computation, or its task"),
        Column(
            "method", "float64", "score where it saves as much as the baseline, in points; of text, 100 nats a token"
        ),
        Column("baseline", "float64", "that of the baseline"),
        Column("difference", "float64", "`method` less `baseline`"),
    ),
)

TABLES = tuple(table for table in tuple(vars().values()) if isinstance(table, Table))
