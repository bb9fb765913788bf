"""Language modelling on packed text, by any tokenizer, with three objectives.

causal (GPT-2, LLaMA): the next token; masked (BERT): hidden tokens; span_corruption (T5): hidden
spans, written out. Sequences are cut from the text without padding. Evaluation slides a window over
the whole split, so that every token is scored once, all but the first `length` with at least
`length - stride` tokens of context. Bits per byte compare models of different tokenizers: total
nats of the split / ln 2 / its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import LANGUAGE, MetricSpec, of_domain
from moesuite.task import Batch, Columns, Lookahead, Predict, Preview, Task, UserError
from moesuite.tasks.language.lines import SHORTEST, line_hashes, unit_of
from moesuite.tasks.language.masks import hide
from moesuite.tasks.language.metrics import leak, metrics_of, sums_of
from moesuite.tasks.language.packed import IGNORED, Sample, Sliding
from moesuite.tasks.language.predictions import window_losses
from moesuite.tasks.language.reading import Sequences, read_sequences
from moesuite.tasks.language.spans import Spans
from moesuite.tasks.options import About, Tokens
from moesuite.tasks.text.corpus import TextSource
from moesuite.tasks.text.tokenizer import LEARNED

SPAN = 3.0  # tokens of a hidden span on average


class Language(Task):
    """Predict tokens of text."""

    specs = LANGUAGE
    unit = f"lines of {SHORTEST} or more characters"

    def __init__(
        self,
        name: str = "language",
        data: TextSource = TextSource(),
        tokens: Tokens = Tokens(),
        objective: Literal["causal", "masked", "span_corruption"] = "causal",
        stride: Annotated[int, Ge(1)] | None = None,
        mask_share: Annotated[float, Gt(0), Lt(1)] = 0.15,
        metric: Literal["bits_per_byte", "perplexity"] = "bits_per_byte",
        about: About = About(),
    ) -> None:
        """Declare a text.

        Args:
            name: name of the task.
            data: where the text comes from.
            tokens: tokenizer and length of a sequence.
            tokenizer: byte, character, word, bpe, or a folder or hub id of a tokenizer.
            length: tokens of a sequence, >= 8.
            objective: what is predicted: causal, masked or span_corruption.
            stride: tokens between windows in evaluation, 1 to `length`; null: half of `length`.
            mask_share: share of the tokens that are hidden, in (0, 1).
            metric: metric that ranks causal models; others are ranked by perplexity.
            about: for the reader.

        Raises:
            UserError: if `stride` is more than `length`, or a streamed text would have to be read
                for a vocabulary.
        """
        self.name = name
        self.data = data
        self.tokenizer = tokens.tokenizer
        self.length = tokens.length
        self.objective = objective
        self.stride = tokens.length // 2 if stride is None else stride
        if self.stride > self.length:
            raise UserError(
                f"task.stride={stride}: expected 1 to task.length={self.length}; "
                f"type task.stride={self.length}"
            )
        if data.streaming and self.tokenizer in LEARNED:
            raise UserError(
                f"task.tokenizer={self.tokenizer} learns its vocabulary from the whole text, which "
                "a stream never shows; expected byte, or a tokenizer's folder or hub id; type "
                "task.tokenizer=byte"
            )
        self.tokens = tokens
        self.mask_share = mask_share
        self.about = about
        self.causal = objective == "causal"
        self.causal_decoder = objective == "span_corruption"
        self.primary = LANGUAGE[metric if self.causal else "perplexity"]
        self.unreadable = []

    def prepare(self) -> None:
        """Load the text; see `Task.prepare`."""
        self.fingerprint = self._read.fingerprint
        self.description = self._read.description
        self.notes = self._read.notes

    @cached_property
    def _read(self) -> Sequences:
        """The text, read once."""
        return read_sequences(self.data, self.tokens, self.stride)

    @property
    def _vocabulary(self) -> int:
        """Number of tokens of the tokenizer; the one of bytes is known without the data."""
        return 256 if self.tokenizer == "byte" else self._read.vocabulary

    @property
    def in_memory(self) -> bool:
        """True: tokens are ready, memory-mapped."""
        return True

    def backbone_arguments(self) -> dict[str, Any]:
        """Return head, vocabulary and length, by Hugging Face's names.

        The vocabulary of a masked model ends with the mask.
        """
        size = self._vocabulary
        if self.objective == "masked":
            size += 1
        elif self.objective == "span_corruption":
            size = self._spans.size
        return {"head": self.objective, "vocab_size": size, "max_position_embeddings": self.length}

    @property
    def _spans(self) -> Spans:
        return Spans(self.length, self.mask_share, SPAN, self._vocabulary)

    def blank(self) -> dict[str, Tensor]:
        """Return one sequence."""
        sample = Sample(np.zeros(self.length + 1, dtype=np.int64), self.length, 0)
        return {
            key: tensor.to("meta") for key, tensor in self.inputs(self.collate([sample])).items()
        }

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        return self._read.splits.get(split)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join samples to {input_ids, labels, index, domain}, and the decoder's inputs.

        Ids and labels are [B, length], the others [B]. Labels that are not scored are -100.
        """
        numbers = {
            "index": torch.tensor([sample.seed for sample in samples]),
            "domain": torch.tensor([sample.domain for sample in samples]),
        }
        if self.objective == "span_corruption":
            return {**self._corrupt(samples), **numbers}
        tokens = torch.from_numpy(np.stack([sample.tokens for sample in samples]))
        inputs, labels = tokens[:, :-1], tokens[:, 1:].clone()
        for row, sample in enumerate(samples):
            labels[row, : self.length - sample.scored] = IGNORED
        if self.objective == "masked":
            seeds = [sample.seed for sample in samples]
            share, size = self.mask_share, self._vocabulary
            inputs, labels = hide(tokens[:, 1:], labels, seeds, share, size)
        return {"input_ids": inputs, "labels": labels, **numbers}

    def _corrupt(self, samples: Sequence[Sample]) -> Batch:
        """Hide spans, by the seed of each sequence."""
        spans = self._spans
        pairs = [spans.corrupt(sample.tokens[1:], sample.seed) for sample in samples]
        inputs, labels = (np.stack(part) for part in zip(*pairs, strict=True))
        arrays = {"input_ids": inputs, "decoder_input_ids": spans.shifted(labels), "labels": labels}
        return {key: torch.from_numpy(array) for key, array in arrays.items()}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids."""
        others = ("labels", "index", "domain")
        return {key: value for key, value in batch.items() if key not in others}

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the targets."""
        return F.cross_entropy(
            output.logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORED
        )

    def metrics(self) -> MetricCollection:
        """Return perplexity by token, and for causal models bits per byte.

        Of several domains, the metric that ranks is also returned for each, as bits_per_byte/news.
        """
        read = self._read
        return metrics_of(self.primary.name, self.causal, read.bytes_per_token, read.domains)

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        domain = batch["domain"] if self._read.domains else None
        metrics.update(**sums_of(output.logits.float(), batch["labels"], domain))

    def spec(self, metric: str) -> MetricSpec:
        """Return the declaration of a metric; the score of a domain is the primary metric's."""
        return of_domain(self.primary, metric) or super().spec(metric)

    def examples(self, metric: str, total: int) -> int:
        """Return the number of sequences behind a metric: of a domain, its own."""
        domains = list(self._read.domains)
        test, name = self._read.splits["test"], metric.partition("/")[2]
        if name not in domains or not isinstance(test, Sliding):
            return total
        return min(total, test.count(domains.index(name)))

    def predictions(self, output: Any, batch: Batch) -> Columns:
        """Return the losses of the windows of a test batch."""
        return window_losses(self._read, batch, output.logits.float())

    def lookahead(self, predict: Predict, batch: Batch) -> Lookahead | None:
        """Measure how the outputs of the first half of sequences depend on the second half.

        The second half of each is exchanged for the second half of another one.
        """
        if not self.causal:
            return None
        ids, half = batch["input_ids"], self.length // 2
        other = torch.cat([ids[:, :half], ids.roll(1, dims=0)[:, half:]], dim=1)
        before, after = (
            predict({**batch, "input_ids": i}).logits[:, : half - 1].float() for i in (ids, other)
        )
        return leak(before, after, ids[:, 1:half])  # whichever of them are scored

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the tokens, hidden ones as _."""
        symbol, size = self._read.symbol, self._vocabulary
        rows = batch["input_ids"].tolist()
        return [[symbol(i) if i < size else "_" for i in row] for row in rows]

    def preview(self, split: Literal["train", "val", "test"]) -> Preview:
        """Return the sequences as texts, and the size of the split."""
        return self._read.preview(split)

    def contents(self, split: Literal["train", "val", "test"]) -> Iterator[bytes] | None:
        """Return the hashes of the lines of a split; None for a stream."""
        if (text := self._read.text) is None:
            return None
        self.unit = unit_of(text)
        return line_hashes(text, split)

    def size(self, batch: Batch) -> int:
        """Return the number of sequences."""
        return len(batch["input_ids"])
