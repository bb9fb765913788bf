"""Text embeddings: contrastive training; evaluation by search, similarity, a probe, or mteb.

Training pulls the two texts of a pair together and apart from all others of the batch: multiple
negatives ranking (Henderson et al. 2017, https://arxiv.org/abs/1705.00652, section 4.4) on cosines
over a temperature, as in SimCSE (Gao et al. 2021, https://arxiv.org/abs/2104.08821, equation 5).
What is embedded is the pooled hidden state, or the router's weights, as proposed by Li and Zhou,
"Your Mixture-of-Experts LLM Is Secretly an Embedding Model" (2024),
https://arxiv.org/abs/2410.10814. Decoders: pooling=last, and PromptEOL (Jiang et al. 2023,
https://arxiv.org/abs/2307.16645) by task.prompt='This sentence : "{}" means in one word:"'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import EMBEDDINGS, OF_KIND, MetricSpec
from moesuite.task import Batch, Columns, Predict, Preview, Task
from moesuite.tasks.embeddings import scores
from moesuite.tasks.embeddings.contrastive import contrastive_loss
from moesuite.tasks.embeddings.mteb_package import Mteb
from moesuite.tasks.embeddings.pairs import Example, Reading, read_examples
from moesuite.tasks.embeddings.pooling import Embedding, Examples, Sample, pool
from moesuite.tasks.embeddings.predictions import embedded_rows, scored_rows
from moesuite.tasks.embeddings.preview import preview
from moesuite.tasks.embeddings.sets import TextSets
from moesuite.tasks.options import About
from moesuite.tasks.text.encoder import Ids, TextEncoder, padded, text_encoder

Kind = Literal["search", "similarity", "classification", "mteb"]


class Embeddings(Task):
    """Embed texts."""

    protocol = 2  # search: scores are means over the orders of documents that are as similar

    def __init__(
        self,
        name: str = "embeddings",
        kind: Kind = "search",
        data: TextSets = TextSets(),
        tokenizer: str = "byte",
        length: Annotated[int, Ge(2)] = 128,
        embedding: Embedding = Embedding(),
        temperature: Annotated[float, Gt(0), Le(10)] = 0.05,
        close: Annotated[float, Ge(0), Le(5)] = 4.0,
        about: About = About(),
    ) -> None:
        """Declare texts.

        Args:
            name: name of the task.
            kind: evaluation: search, similarity (STS), classification by a linear probe, or mteb.
            data: the data sets.
            tokenizer: byte, character, word, bpe, or a folder or hub id of a tokenizer.
            length: tokens that are kept of a text, >= 2.
            embedding: from a text to a vector.
            temperature: temperature of the cosines in the training loss, in (0, 10].
            close: least similarity of a scored pair to train on, 0 to 5.
            about: for the reader.
        """
        self.name = name
        self.kind = kind
        self.data = data
        self.tokenizer = tokenizer
        self.length = length
        self.embedding = embedding
        self.temperature = temperature
        self.close = close
        self.about = about
        self.reads_routing = embedding.representation == "routing"
        self.primary = EMBEDDINGS[OF_KIND[kind]]
        self.specs = EMBEDDINGS
        self.unreadable = []
        self._datasets: dict[str, Examples] = {}
        self._mteb = Mteb(data.chosen, data.source) if kind == "mteb" else None

    def prepare(self) -> None:
        """Load and tokenise the texts; see `Task.prepare`."""
        if self._datasets:
            return
        reading = self._reading
        self.fingerprint, self.description = reading.fingerprint, reading.description
        self.notes = reading.notes
        if self.kind == "search":
            control = scores.bm25(*zip(*(e.texts for e in reading.roles["test"]), strict=True))
            self.description += f"; control: BM25 has {self.primary.name} {control:.4f}"
        for role, examples in reading.roles.items():
            self._datasets[role] = Examples(examples, self._encode, paired=role == "train")

    @cached_property
    def _reading(self) -> Reading:
        """The texts, read once."""
        mteb = self._mteb
        return mteb.read() if mteb else read_examples(self.kind, self.data, self.close)

    @cached_property
    def _text(self) -> TextEncoder:
        """The tokenizer, loaded or trained once."""

        def train() -> list[str]:
            return list(chain.from_iterable(e.texts for e in self._reading.roles.get("train", [])))

        closing = self.embedding.prompt.rpartition("{}")[2]
        return text_encoder(self.tokenizer, self.length, train, closing)

    def _encode(self, texts: Sequence[str]) -> list[Ids]:
        return self._text.encode([self.embedding.prompted(text) for text in texts])

    @property
    def in_memory(self) -> bool:
        """True: tokens are ready."""
        return True

    @property
    def example_split(self) -> Literal["train", "test"]:
        """Return the split of pairs, that costs are measured on."""
        return "train" if "train" in self._datasets else "test"

    def backbone_arguments(self) -> dict[str, Any]:
        """Return head, vocabulary and length, by Hugging Face's names."""
        return {
            "head": "embedding",
            "vocab_size": self._text.size,
            "max_position_embeddings": self.length,
        }

    def blank(self) -> dict[str, Tensor]:
        """Return a pair of texts of full length."""
        ids = torch.zeros(2, self.length, dtype=torch.long, device="meta")
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        return self._datasets.get(split)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join examples: all first texts, then all second texts of pairs."""
        texts = [tokens[0] for tokens, _ in samples]
        texts += [tokens[1] for tokens, _ in samples if len(tokens) == 2]
        examples = [example for _, example in samples]
        fields = ("group", "scored", "number")
        about = {key: torch.tensor([getattr(each, key) for each in examples]) for key in fields}
        about["target"] = torch.tensor([each.target for each in examples], dtype=torch.float64)
        return {**padded(texts, self._text.padding), **about}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids and padding mask [texts, T]."""
        return {key: batch[key] for key in ("input_ids", "attention_mask")}

    def _vectors(self, output: Any, batch: Batch) -> scores.Embedded:
        """Pool; an example of one text is compared with itself."""
        vectors = pool(output.last_hidden_state, batch["attention_mask"], self.embedding.pooling)
        count = len(batch["target"])
        return scores.Embedded(
            vectors[:count], vectors[-count:], batch["target"], batch["group"], batch["scored"]
        )

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the words of the texts."""
        return self._text.words(batch)

    def preview(self, split: Literal["train", "val", "test"]) -> Preview:
        """Return the texts, with the class or the score of each."""

        def count(text: str) -> int:
            return self._text.count((self.embedding.prompted(text),))

        return preview(self._reading, split, self.kind, count, self.length)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the contrastive loss."""
        return contrastive_loss(self._vectors(output, batch), self.temperature)

    def metrics(self) -> MetricCollection:
        """Return the scores of a whole split, as one metric with several values."""
        score = scores.search
        if self.kind == "similarity":
            score = scores.by_set("spearman", scores.spearman, self._reading.names)
        elif self.kind == "classification":
            score = scores.by_set("accuracy", scores.probe, self._reading.names)
        return MetricCollection({"embedded": scores.Collected(score)})

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        metrics.update(self._vectors(output, batch))

    def predictions(self, output: Any, batch: Batch) -> Columns | None:
        """Return the embeddings of a test batch; mteb has examples of many kinds."""
        vectors = self._vectors(output, batch)
        return None if self._mteb else embedded_rows(batch["number"], vectors)

    def complete_predictions(self, columns: Columns) -> Columns:
        """Return ranks, cosines or predicted classes from the embeddings of the whole split."""
        return scored_rows(self.kind, columns, self._reading)

    def whole(self, predict: Predict, folder: Path) -> dict[str, float] | None:
        """Return mteb's scores for kind=mteb; its own result files are written to `folder`/mteb."""
        if self._mteb is None:
            return None

        def encode(texts: list[str]) -> np.ndarray:
            batch = self.collate([([ids], Example((), 0.0)) for ids in self._encode(texts)])
            return self._vectors(predict(batch), batch).first.cpu().numpy()

        return self._mteb.scores(encode, folder / "mteb")

    def size(self, batch: Batch) -> int:
        """Return the number of examples."""
        return len(batch["target"])

    def spec(self, metric: str) -> MetricSpec:
        """Return the declaration of a metric; the score of one data set is the primary metric's."""
        return self.specs.get(metric) or self.primary.model_copy(update={"name": metric})

    def split_sizes(self) -> dict[str, int]:
        """Return the number of examples of each split."""
        return {**super().split_sizes(), "test": self._reading.scored("")}

    def examples(self, metric: str, total: int) -> int:
        """Return the number of examples behind a metric: of one data set, its own."""
        of_one = self._mteb is not None or metric in self._reading.names
        return self._reading.scored(metric) if of_one else total

    def contents(self, split: Literal["train", "val", "test"]) -> Iterator[bytes] | None:
        """Return the texts, of a test split those that are scored."""
        examples = self._reading.roles.get(split)
        return None if examples is None else (e.content for e in examples if e.scored)

    def content(self, sample: Sample) -> bytes:
        """Return the texts."""
        return sample[1].content

    def scored(self, batch: Batch) -> int:
        """Return the number of scored examples; the others are for fitting a probe."""
        return int(batch["scored"].sum())
