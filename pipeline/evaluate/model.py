"""The model class that lm-eval drives: requests in, log-likelihoods and texts out; a tally counts what ran.

lm-eval passes all requests of an evaluation at once. They are tied to samples by task and document hash, because
lm-eval renumbers documents, and put into batches that depend on lengths and sample ids alone: every method runs exactly
the same batches, whatever groups the samples are in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, cast

import pandas as pd
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from pipeline.evaluate.asked import REMEDY, asked_before, check_asked
from pipeline.evaluate.choices import ScoringRequest, loglikelihoods
from pipeline.evaluate.decoding import GenerationRequest, generate
from pipeline.evaluate.ends import ends_of, not_applied
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from pipeline.tasks.generation import limits
from pipeline.tasks.task_view import arguments, doc_hash
from pipeline.tokens.chat import ChatTemplate
from wina_amp.errors import UserError
from wina_amp.tokens.batching import batches
from wina_amp.tokens.encoding import encode_pairs, encode_prompts

log = logging.getLogger(__name__)

_Ids = tuple[int, ...]


class ProfiledLM(LM):
    """A model that runs every sample with the profile of its group.

    Args:
        engine: the model, dense or with masks installed.
        table: the samples, rows of `schemas.SAMPLES` with a column `group`.
        today: the date that a chat template is told.
        batch_tokens: tokens per forward pass, padding included.
        tally: receives what ran.
        advance: called with the number of requests after each batch.
    """

    def __init__(
        self,
        engine: Engine,
        table: pd.DataFrame,
        today: date,
        batch_tokens: int,
        tally: Tally,
        advance: Callable[[int], object],
    ) -> None:
        super().__init__()
        rows: list[Any] = list(table.itertuples(index=False))
        self._engine = engine
        self._today = today
        self._samples = {(f"{row.task}/{row.split}", row.doc_hash): number for number, row in enumerate(rows)}
        self._sample_ids = [row.sample_id for row in rows]
        self._asked = [asked_before(row) for row in rows]
        self._groups = [int(row.group) for row in rows]
        self._budget = batch_tokens
        self._tally = tally
        self._advance = advance
        self._chat: ChatTemplate | None = None

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation, and whether it is the greedy one; requests of a prompt share its run.

        Equal continuations of a prompt are scored once: in batches of their own they could differ by rounding, which
        would decide between two choices that are the same.
        """
        pairs = encode_pairs(self._engine.loaded.tokenizer, [arguments(request)[:2] for request in requests])
        continuations: dict[tuple[int, _Ids], dict[_Ids, list[int]]] = {}
        for number, (sample, (prompt, continuation, _)) in enumerate(zip(self._numbers(requests), pairs, strict=True)):
            scored = continuations.setdefault((sample, tuple(prompt)), {})
            scored.setdefault(tuple(continuation), []).append(number)
        scoring = [
            ScoringRequest(sample, self._groups[sample], prompt, list(scored))
            for (sample, prompt), scored in continuations.items()
        ]
        numbers = [list(scored.values()) for scored in continuations.values()]
        results: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for batch in self._batches(scoring):
            scores = loglikelihoods(self._engine, [scoring[i] for i in batch], self._tally)
            for i, results_of_prompt in zip(batch, scores, strict=True):
                for equal, result in zip(numbers[i], results_of_prompt, strict=True):
                    for number in equal:
                        results[number] = result
            self._advance(sum(len(equal) for i in batch for equal in numbers[i]))
        return results

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Greedy continuation of each prompt, up to its stop texts or another end of an answer (`Ends`)."""
        unused = not_applied(self._engine.loaded)
        if unused:
            log.warning("generation_config.json asks for %s, which is not applied here and in lm-eval would be", unused)
        ends = ends_of(self._engine.loaded, None if self._chat is None else self._chat.turn_end())
        prompts = encode_prompts(self._engine.loaded.tokenizer, [arguments(request)[0] for request in requests])
        bounds = [limits(arguments(request)[1], str(request.task_name)) for request in requests]
        generations = [
            GenerationRequest(sample, self._groups[sample], prompt, bound)
            for sample, prompt, bound in zip(self._numbers(requests), prompts, bounds, strict=True)
        ]
        results = [""] * len(requests)
        for batch in self._batches(generations):
            texts = generate(self._engine, [generations[i] for i in batch], self._tally, ends)
            for i, text in zip(batch, texts, strict=True):
                results[i] = text
            self._advance(len(batch))
        return results

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Refused: whole texts have no prompt to choose a profile by; `load_tasks` cuts them into windows."""
        raise UserError(
            "A task must ask for choices, for generation or for windows of text",
            found="rolling log-likelihood",
            where=f"task {requests[0].task_name}",
            remedy="load it with `pipeline.tasks.loading.load_tasks`",
        )

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The prompt that a conversation becomes; lm-eval asks for it."""
        if self._chat is None:
            self._chat = ChatTemplate(self._engine.loaded.tokenizer, self._today)
        return self._chat(chat_history, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        """lm-eval keeps prompts made with different templates apart by it."""
        return str(self._engine.loaded.tokenizer.name_or_path)

    def _numbers(self, requests: Sequence[Instance]) -> list[int]:
        """The sample of every request; documents are hashed once.

        Raises:
            UserError: a document is not in the table of samples, or is asked about in another way than there.
        """
        known: dict[tuple[str, int], int] = {}
        for request in requests:
            document = (str(request.task_name), cast(int, request.doc_id))
            if document not in known:
                known[document] = self._number(document[0], request)
        numbers = [known[str(request.task_name), cast(int, request.doc_id)] for request in requests]
        check_asked(requests, numbers, self._asked, self._sample_ids)
        return numbers

    def _number(self, task: str, request: Instance) -> int:
        key = (task, doc_hash(request.doc))
        if key not in self._samples:
            raise UserError(
                "Every document of a task must be in the table of samples",
                found=f"document {request.doc_id} of {task}, which is not",
                where="data/samples.parquet",
                remedy=REMEDY,
            )
        return self._samples[key]

    def _batches(self, requests: Sequence[ScoringRequest] | Sequence[GenerationRequest]) -> list[list[int]]:
        # One sample may have several prompts; their order among the requests tells them apart.
        names = [f"{self._sample_ids[request.sample]}#{number:09d}" for number, request in enumerate(requests)]
        return batches([request.length for request in requests], names, self._budget)
