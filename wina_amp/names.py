"""Every name that a setting or a file may hold, once, with a description of one line.

A closed list is a mapping, name -> description. Settings, registries, tables and texts take their names from here, so
this module imports nothing but the standard library.
"""

from __future__ import annotations

from typing import Literal

DENSE = "dense"
"""The model as it is, in place of a method or criterion."""

DTYPES = {
    "float32": "four bytes a number",
    "bfloat16": "two bytes a number, with the range of float32",
    "float16": "two bytes a number, of small range",
}
AUTO, CPU, CUDA, SPREAD = "auto", "cpu", "cuda", "spread"
DEVICES = {
    AUTO: "a GPU if there is one, else the CPU",
    CPU: "the CPU",
    CUDA: "the first GPU",
    SPREAD: "block after block onto all GPUs",
}
NO_TRANSFORM, ORTHOGONAL = "none", "orthogonal"
TRANSFORMS = {
    NO_TRANSFORM: "the checkpoint as it is",
    ORTHOGONAL: "attention and MLP inputs rotated so that the columns of k and gate are orthogonal (WINA)",
}

TRAIN, TEST, CONFIRMATION = "train", "test", "confirmation"
SPLITS = {
    TRAIN: "everything is fitted on it",
    TEST: "held out, for development: it may be looked at as often as one likes",
    CONFIRMATION: "held out, and evaluated once, as the protocol of the study says",
}
REFITS = "refits"
"""A task's own split with the train documents of refits, where it has one."""
CHOICE, GENERATION, TEXT = "choice", "generation", "text"
SAMPLE_KINDS = {
    CHOICE: "the likeliest continuation is the answer",
    GENERATION: "the generated answer must match exactly",
    TEXT: "perplexity only",
}
REFUSE, LEAVE_OUT = "refuse", "leave_out"
TOO_LONG = {REFUSE: "stop", LEAVE_OUT: "take the next item and count"}

TEAL, WINA, WINA_RELEASED, LEARNED, CATS = "teal", "wina", "wina_released", "learned", "cats"
CRITERIA = {
    TEAL: "|x|",
    WINA: "|x| times the L2 norm of its weight column",
    WINA_RELEASED: "|x| times the L2 norm of its weight column for k and gate, |x| elsewhere (WINA's released code)",
    LEARNED: "|x| times a weight that was learned from what the feature does to predictions",
    CATS: "the magnitude of the MLP's activated gate, which spares rows of up and columns of down (CATS)",
}
GATE_CRITERIA = (CATS,)
"""Criteria that read the activated gate: their masks reach only a part of the weights, and there is one in a block."""
THRESHOLD, TOPK, PROMPT = "threshold", "topk", "prompt"
MASKS = {
    THRESHOLD: "keeps those above a calibrated threshold",
    TOPK: "keeps an exact number of the highest for every token",
    PROMPT: "keeps those above a threshold that is read off the scores of the prompt itself",
}

GLOBAL, ACTIVATION, GRADIENT, LENGTH = "global", "activation", "gradient", "length"
LEARNED_SCHEMES = (ACTIVATION, GRADIENT)
"""Groups that are found in what the model does: its activations, or what a pooled allocation does to it."""
LABEL_SCHEMES = ("task", "computation", "template")
"""Schemes with one group per value of the sample's label of the same name."""
ACTIVATION_RANDOM_SCHEMES = ("random", "random1", "random2")
"""The random control and independent draws of it, which show how much the control itself varies."""
GRADIENT_RANDOM_SCHEMES = ("gradient_random", "gradient_random1", "gradient_random2")
"""The same with the sizes of `gradient`."""
RANDOM_SCHEMES = (*ACTIVATION_RANDOM_SCHEMES, *GRADIENT_RANDOM_SCHEMES)
GRADIENT_SCHEMES = (GRADIENT, *GRADIENT_RANDOM_SCHEMES)
"""Schemes that need a pooled allocation; the others need none."""
_RANDOM = "one profile per random group, of the same sizes as the learned ones"
SCHEMES = {
    GLOBAL: "one profile calibrated on all training samples",
    ACTIVATION: "one profile per learned activation group",
    **{scheme: f"one profile per {scheme} label" for scheme in LABEL_SCHEMES},
    LENGTH: "one profile per range of prompt length, of the same sizes as the learned groups",
    **dict.fromkeys(ACTIVATION_RANDOM_SCHEMES, _RANDOM),
    GRADIENT: "one profile per group of samples whose allocation gradients agree",
    **dict.fromkeys(GRADIENT_RANDOM_SCHEMES, _RANDOM),
}
KMEANS, GMM, HDBSCAN = "kmeans", "gmm", "hdbscan"
ALGORITHMS = {
    KMEANS: "k-means",
    GMM: "a mixture of Gaussians",
    HDBSCAN: "regions of high density; it finds the number of groups",
}
UNIFORM, GREEDY, KL, POOLED = "uniform", "greedy", "kl", "pooled"
ALLOCATIONS = {
    UNIFORM: "the same sparsity for every projection",
    GREEDY: "sparsity spread block by block, greedily by output error",
    KL: "sparsity spread over the whole model, by what it does to predictions (KL)",
    POOLED: "the sparsities of a pooled profile set for every group, which has thresholds of its own",
}
MASKED = "masked"
CALIBRATIONS = {
    MASKED: "thresholds of the model as it runs, all masks on: the target is met",
    DENSE: "quantiles of the dense model's scores, as the released codes have them: deep models overshoot the target",
}
EXACT, LAZY = "exact", "lazy"
GREEDY_SEARCHES = {EXACT: "a round tries all steps, as published", LAZY: "a round tries the likely steps"}

EMBEDDING, NEIGHBOURS, SCORES, BENEFIT = "embedding", "neighbours", "scores", "benefit"
_NEIGHBOURS = "the mean of the prompt's token embeddings and of the products of neighbouring ones"
ROUTERS = {
    EMBEDDING: "the mean of the prompt's token embeddings",
    NEIGHBOURS: _NEIGHBOURS,
    SCORES: "the first blocks' activations, from a dense pass over the prompt that ends there",
}
"""Routers that name groups of a learned scheme, and what they read."""
ROUTER_KINDS = ROUTERS | {
    BENEFIT: f"{_NEIGHBOURS}, which leaves a prompt to the pooled profile (the last group) unless it expects another "
    "to do better"
}
"""These, and the router that belongs to a profile set."""
NUMBA, TRITON, REFERENCE = "numba", "triton", "reference"
BACKENDS = {
    NUMBA: "reads the weights of kept inputs, on a CPU",
    TRITON: "reads the weights of kept inputs, on a GPU",
    REFERENCE: "masked dense products, which define the result",
}
Prefill = Literal["sparse", "dense"]
PREFILLS: dict[Prefill, str] = {"sparse": "eligible prompt tokens are masked", "dense": "prompts run dense"}
