"""Language modelling on packed text, by bytes, characters, words or any tokenizer, with three objectives.

causal (GPT-2, LLaMA): the next token; masked (BERT): hidden tokens; span_corruption (T5): hidden
spans, written out. Sequences are cut from the text without padding. Evaluation slides a window over
the whole split, so that every token is scored once, all but the first `length` with at least
`length - stride` tokens of context. Bits per byte compare models of different tokenizers: total
nats of the split / ln 2 / its bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchmetrics import Metric, MetricCollection

from moesuite.records.metrics import LANGUAGE
from moesuite.task import Batch, Lookahead, Predict, Source, Task, UserError, load_source
from moesuite.tasks.language.packed import Packed, Sample, Sliding, check_length
from moesuite.tasks.language.spans import Spans
from moesuite.tasks.language.stream import StreamedTokens, first_documents
from moesuite.tasks.text.corpus import check_column, read_stdlib, read_text
from moesuite.tasks.text.tokenizer import build_tokenizer, tokens_of

IGNORED = -100  # a target that is not scored
ROUNDING = 1e-4  # of an output's largest value: other sizes of matrix products round otherwise
SPAN = 3.0  # tokens of a hidden span on average
RANDOM, KEPT = (
    0.1,
    0.1,
)  # shares of masked tokens that become random ones, or stay (Devlin et al. 2018, section 3.1)


class MeanLoss(Metric):
    """Mean loss in nats per target, times `scale`, or as perplexity."""

    total: Tensor
    count: Tensor

    def __init__(self, scale: float = 1.0, exponent: bool = False) -> None:
        super().__init__()
        self.scale, self.exponent = scale, exponent
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, count: Tensor) -> None:
        """Add a sum of losses over `count` targets."""
        self.total += loss
        self.count += count

    def compute(self) -> Tensor:
        """Return the mean."""
        mean = self.total / self.count
        return mean.exp() if self.exponent else mean * self.scale


class Language(Task):
    """Predict tokens of text."""

    specs = LANGUAGE

    def __init__(
        self,
        name: str = "language",
        embedded: Literal["stdlib"] | None = None,
        hub: str | None = None,
        revision: str | None = None,
        config: str | None = None,
        source: str | None = None,
        splits: dict[str, str] = {"train": "train", "val": "validation", "test": "test"},  # noqa: B006 - read by `plugins`
        column: str = "text",
        objective: Literal["causal", "masked", "span_corruption"] = "causal",
        tokenizer: str = "byte",
        length: Annotated[int, Ge(8)] = 256,
        stride: Annotated[int, Ge(1)] | None = None,
        mask_share: Annotated[float, Gt(0), Lt(1)] = 0.15,
        metric: Literal["bits_per_byte", "perplexity"] = "bits_per_byte",
        streaming: bool = False,
        eval_documents: Annotated[int, Ge(1)] = 1000,
        licence: str = "",
        size: str = "",
    ) -> None:
        """Declare a text.

        Args:
            name: of the task.
            embedded: a text of the Python installation, used where no `source` is given.
            hub, revision, config: the data set on the Hugging Face hub.
            source: text file, folder of train*.txt and test*.txt, parquet files, or hub id to read
                instead.
            splits, column: name of the split of each role (train, val, test), and of the column of
                text.
            objective: what is predicted.
            tokenizer: byte, character, word, or a folder or hub id of a tokenizer.
            length: tokens of a sequence, >= 8.
            stride: tokens between windows in evaluation, 1 to `length`; None: half of `length`.
            mask_share: share of the tokens that are hidden, in (0, 1).
            metric: what ranks; models that are not causal are ranked by perplexity.
            streaming: tokenise while training, from the hub, nothing on disk; needs
                trainer.max_steps.
            eval_documents: of a stream, that are evaluated: the first ones of its test split.
            licence, size: terms and size of the text, for the reader.

        Raises:
            UserError: if `stride` is more than `length`, or a streamed text would have to be read
                for a vocabulary.
        """
        self.name, self.embedded, self.hub, self.revision, self.config = (
            name,
            embedded,
            hub,
            revision,
            config,
        )
        self.source, self.splits, self.column = source, dict(splits), column
        self.objective, self.tokenizer, self.length = objective, tokenizer, length
        self.stride = length // 2 if stride is None else stride
        if self.stride > length:
            raise UserError(
                f"task.stride={stride}: allowed is 1 to task.length={length}; type task.stride={length}"
            )
        if streaming and tokenizer in ("character", "word", "bpe"):
            raise UserError(
                f"task.tokenizer={tokenizer} learns its vocabulary from the whole text, which a stream never shows; "
                "allowed: byte, or a tokenizer's folder or hub id; type task.tokenizer=byte"
            )
        self.mask_share, self.streaming, self.eval_documents = mask_share, streaming, eval_documents
        self.causal = objective == "causal"
        self.causal_decoder = objective == "span_corruption"
        self.primary, self.unreadable = (
            LANGUAGE[metric if self.causal else "perplexity"],
            list[str](),
        )
        self._datasets: dict[str, Dataset[Any]] = {}
        self._bytes_per_token, self._vocabulary, self._symbol = 1.0, 256, chr

    def prepare(self) -> None:
        """Load the text; see `Task.prepare`."""
        if self._datasets:
            return
        embedded = self.embedded is not None and self.source is None
        read = (self.source, self.hub, self.revision, self.config, self.splits)
        if self.streaming and not embedded:
            self._stream(load_source(*read, streaming=True))
            return
        text = read_stdlib() if embedded else read_text(*read, self.column)
        tokens = tokens_of(text, self.tokenizer)
        self._vocabulary, self._bytes_per_token = (
            tokens.vocabulary,
            tokens.size["test"] / len(tokens.splits["test"]),
        )
        self.fingerprint, self._symbol = text.fingerprint, tokens.symbol
        self.description = (
            f"{text.description}; gzip -9 needs {tokens.gzip:.3f} bits per byte of test"
        )
        for role, whole in tokens.splits.items():
            own, train = (
                check_length(whole, self.length, f"{text.description}: split {role}"),
                role == "train",
            )
            self._datasets[role] = (
                Packed(own, self.length) if train else Sliding(own, self.length, self.stride)
            )

    def _stream(self, loaded: Source) -> None:
        """Train on a stream, evaluate on the first documents of its test split."""
        tokenizer = build_tokenizer(self.tokenizer, [])
        train, test = loaded.splits["train"], loaded.splits["test"]
        check_column(train, self.column, loaded.description)
        self._vocabulary, self.fingerprint, self._symbol = (
            tokenizer.size,
            loaded.fingerprint,
            tokenizer.symbol,
        )
        self.description = (
            f"{loaded.description}, streamed; first {self.eval_documents} documents of test"
        )
        tokens, self._bytes_per_token = first_documents(
            test, self.column, tokenizer, self.eval_documents
        )
        self._datasets["train"] = StreamedTokens(train, self.column, tokenizer, self.length)
        self._datasets["test"] = Sliding(
            check_length(tokens, self.length, self.description), self.length, self.stride
        )

    @property
    def in_memory(self) -> bool:
        """Return that tokens are ready, memory-mapped."""
        return True

    def backbone_arguments(self) -> dict[str, Any]:
        """Return what a model of Hugging Face has to fit; a masked one has the mask as its last token."""
        if self.tokenizer != "byte":  # the vocabulary is the data's
            self.prepare()
        size = {"masked": self._vocabulary + 1, "span_corruption": self._spans.size}.get(
            self.objective, self._vocabulary
        )
        return {"head": self.objective, "vocab_size": size, "max_position_embeddings": self.length}

    @property
    def _spans(self) -> Spans:
        return Spans(self.length, self.mask_share, SPAN, self._vocabulary)

    def blank(self) -> dict[str, Tensor]:
        """Return one sequence."""
        sample = np.zeros(self.length + 1, dtype=np.int64), self.length, 0
        return {
            key: tensor.to("meta") for key, tensor in self.inputs(self.collate([sample])).items()
        }

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        return self._datasets.get(split)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join samples to {input_ids, labels}, both [B, length], and the decoder's; labels not scored are -100."""
        if self.objective == "span_corruption":
            return self._corrupt(samples)
        tokens = torch.from_numpy(np.stack([tokens for tokens, _, _ in samples]))
        inputs, labels = tokens[:, :-1], tokens[:, 1:].clone()
        for row, (_, scored, _) in enumerate(samples):
            labels[row, : self.length - scored] = IGNORED
        if self.objective == "masked":
            inputs, labels = self._mask(tokens[:, 1:], labels, [seed for _, _, seed in samples])
        return {"input_ids": inputs, "labels": labels}

    def _mask(self, tokens: Tensor, labels: Tensor, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Hide a share of the tokens, by the seed of each sequence; only hidden ones are scored."""
        draws = [
            torch.rand(3, self.length, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        chosen, kind, other = torch.stack(draws, dim=1)  # [B, length] each
        hidden = chosen < self.mask_share
        inputs = tokens.masked_fill(hidden & (kind >= RANDOM + KEPT), self._vocabulary)
        inputs = torch.where(hidden & (kind < RANDOM), (other * self._vocabulary).long(), inputs)
        return inputs, labels.masked_fill(~hidden, IGNORED)

    def _corrupt(self, samples: Sequence[Sample]) -> Batch:
        """Hide spans, by the seed of each sequence."""
        spans = self._spans
        pairs = [spans.corrupt(tokens[1:], seed) for tokens, _, seed in samples]
        inputs, labels = (np.stack(part) for part in zip(*pairs, strict=True))
        arrays = {"input_ids": inputs, "decoder_input_ids": spans.shifted(labels), "labels": labels}
        return {key: torch.from_numpy(array) for key, array in arrays.items()}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids."""
        return {key: value for key, value in batch.items() if key != "labels"}

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the mean cross-entropy of the targets."""
        return F.cross_entropy(
            output.logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORED
        )

    def metrics(self) -> MetricCollection:
        """Return perplexity by token, and for causal models bits per byte."""
        metrics = {"perplexity": MeanLoss(exponent=True)}
        if self.causal:
            metrics["bits_per_byte"] = MeanLoss(scale=1 / math.log(2) / self._bytes_per_token)
        return MetricCollection(dict[str, Metric | MetricCollection](metrics), compute_groups=False)

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        labels = batch["labels"].flatten()
        logits = output.logits.float().flatten(0, 1)
        loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
        metrics.update(loss.double(), (labels != IGNORED).sum())

    def lookahead(self, predict: Predict, batch: Batch) -> Lookahead | None:
        """Exchange the second half of every sequence for that of another one, and look at the first half's outputs."""
        if not self.causal:
            return None
        ids, half = batch["input_ids"], self.length // 2
        other = torch.cat([ids[:, :half], ids.roll(1, dims=0)[:, half:]], dim=1)
        before, after = (
            predict({**batch, "input_ids": i}).logits[:, : half - 1].float() for i in (ids, other)
        )
        targets = ids[:, 1:half].flatten()  # of the window, whichever of them are scored
        nats = F.cross_entropy(after.flatten(0, 1), targets) - F.cross_entropy(
            before.flatten(0, 1), targets
        )
        changed = (before - after).abs().amax(dim=-1) > ROUNDING * before.abs().amax(dim=-1)
        return Lookahead(outputs=changed.float().mean().item(), bits=nats.item() / math.log(2))

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the tokens, hidden ones as _."""
        return [
            [self._symbol(i) if i < self._vocabulary else "_" for i in row]
            for row in batch["input_ids"].tolist()
        ]

    def size(self, batch: Batch) -> int:
        """Return the number of sequences."""
        return len(batch["input_ids"])
