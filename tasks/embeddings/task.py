"""Text embeddings: contrastive training, and evaluation by search, similarity, a linear probe, or the mteb package.

Training pulls the two texts of a pair together and apart from all others of the batch: multiple
negatives ranking (Henderson et al. 2017, https://arxiv.org/abs/1705.00652, section 4.4) on cosines
over a temperature, as in SimCSE (Gao et al. 2021, https://arxiv.org/abs/2104.08821, equation 5).
What is embedded is the pooled hidden state, or the router's weights, as proposed by Li and Zhou,
"Your Mixture-of-Experts LLM Is Secretly an Embedding Model" (2024),
https://arxiv.org/abs/2410.10814. Decoders: pooling=last, and PromptEOL (Jiang et al. 2023,
https://arxiv.org/abs/2307.16645) by task.prompt='This sentence : "{}" means in one word:"'.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import EMBEDDINGS, OF_KIND, MetricSpec
from moesuite.task import Batch, Predict, Task, UserError
from moesuite.tasks.embeddings import scores
from moesuite.tasks.embeddings.mteb_package import Mteb
from moesuite.tasks.embeddings.pairs import (
    Example,
    Reading,
    read_labelled,
    read_scored,
    read_search,
)
from moesuite.tasks.embeddings.pooling import Examples, Pooling, Sample, pool
from moesuite.tasks.text.encoder import Ids, TextEncoder, padded, text_encoder

Kind = Literal["search", "similarity", "classification", "mteb"]


class Embeddings(Task):
    """Embed texts."""

    def __init__(
        self,
        name: str = "embeddings",
        kind: Kind = "search",
        sets: dict[str, dict[str, str]] = {},  # noqa: B006 - a literal that `plugins` reads
        names: list[str] | str | None = None,
        source: str | None = None,
        tokenizer: str = "byte",
        length: Annotated[int, Ge(2)] = 128,
        pooling: Pooling = "mean",
        prompt: str = "{}",
        representation: Literal["hidden", "routing"] = "hidden",
        temperature: Annotated[float, Gt(0), Le(10)] = 0.05,
        close: Annotated[float, Ge(0), Le(5)] = 4.0,
        licence: str = "",
        size: str = "",
    ) -> None:
        """Declare texts.

        Args:
            name: of the task.
            kind: what is asked of embeddings: search; similarity (STS); classification by a probe;
                mteb.
            sets: hub id, revision, splits and column of labels of each data set by name.
            names: those to evaluate; None: all; of mteb, tasks or a benchmark.
            source: local copies: a folder for each data set; for search a folder of parquet files.
            tokenizer: byte, character, word, bpe, or a folder or hub id of a tokenizer.
            length: tokens that are kept of a text, >= 2.
            pooling: of the tokens' hidden states: mean, cls (first), last, max.
            prompt: around each text, which stands for {}; of a long text, the prompt's end is not
                cut off.
            representation: hidden states, or the weights that routers gave, of all MoE layers.
            temperature: of the cosines in the training loss, in (0, 10].
            close: similarity from which a scored pair is one to train on, 0 to 5.
            licence, size: terms and size of the texts, for the reader.

        Raises:
            UserError: for a prompt without {}.
        """
        if "{}" not in prompt:
            raise UserError(
                f"task.prompt={prompt!r}: the text's place is missing; allowed: any text with {{}} in it"
            )
        self.name, self.kind, self.sets, self.source = name, kind, sets, source
        self.names = [names] if isinstance(names, str) else list(names or [])
        self.tokenizer, self.length, self.prompt, self.close = tokenizer, length, prompt, close
        self.pooling, self.temperature, self.reads_routing = (
            pooling,
            temperature,
            representation == "routing",
        )
        self.primary, self.specs = EMBEDDINGS[OF_KIND[kind]], EMBEDDINGS
        self.unreadable: list[str] = []
        self._datasets: dict[str, Examples] = {}
        self._mteb = Mteb(self.names, source) if kind == "mteb" else None

    def prepare(self) -> None:
        """Load and tokenise the texts; see `Task.prepare`."""
        if self._datasets:
            return
        reading = self._reading
        self.fingerprint, self.description = reading.fingerprint, reading.description
        if self.kind == "search":
            control = scores.bm25(
                *zip(*(example.texts for example in reading.roles["test"]), strict=True)
            )
            self.description += f"; control: BM25 has {self.primary.name} {control:.4f}"
        for role, examples in reading.roles.items():
            if role != "train":  # texts of similar length stand together: little padding
                examples = sorted(examples, key=lambda example: max(map(len, example.texts)))
            self._datasets[role] = Examples(examples, self._encode, paired=role == "train")

    @cached_property
    def _reading(self) -> Reading:
        """The texts, read once."""
        if self._mteb is not None:
            reading = self._mteb.read()
        elif self.kind == "search":
            reading = read_search(self.source)
        elif self.kind == "similarity":
            reading = read_scored(self.sets, self.names, self.source, self.close)
        else:
            reading = read_labelled(self.sets, self.names, self.source)
        if not reading.roles.get("train", True) or not reading.roles["test"]:
            raise UserError(
                f"{reading.description}: a split is empty; allowed: at least one example in each"
            )
        return reading

    @cached_property
    def _text(self) -> TextEncoder:
        """The tokenizer, loaded or trained once."""

        def train() -> list[str]:
            return [
                text for example in self._reading.roles.get("train", []) for text in example.texts
            ]

        return text_encoder(self.tokenizer, self.length, train, self.prompt.rpartition("{}")[2])

    def _encode(self, texts: Sequence[str]) -> list[Ids]:
        return self._text.encode([self.prompt.replace("{}", text) for text in texts])

    @property
    def in_memory(self) -> bool:
        """Return that tokens are ready."""
        return True

    @property
    def example_split(self) -> Literal["train", "test"]:
        """Return the split of pairs, that costs are measured on."""
        return "train" if "train" in self._datasets else "test"

    def backbone_arguments(self) -> dict[str, Any]:
        """Return what a model of Hugging Face has to fit."""
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
        """Join examples: first all first texts, then all second ones, if there are."""
        texts = [tokens[0] for tokens, _ in samples] + [
            tokens[1] for tokens, _ in samples if len(tokens) == 2
        ]
        examples = [example for _, example in samples]
        about = {
            "target": torch.tensor([example.target for example in examples], dtype=torch.float64),
            "group": torch.tensor([example.group for example in examples]),
            "scored": torch.tensor([example.scored for example in examples]),
        }
        return {**padded(texts, self._text.padding), **about}

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids and padding mask [texts, T]."""
        return {key: batch[key] for key in ("input_ids", "attention_mask")}

    def _vectors(self, output: Any, batch: Batch) -> scores.Embedded:
        """Pool; an example of one text is compared with itself."""
        vectors = pool(output.last_hidden_state, batch["attention_mask"], self.pooling)
        count = len(batch["target"])
        return scores.Embedded(
            vectors[:count], vectors[-count:], batch["target"], batch["group"], batch["scored"]
        )

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the words of the texts."""
        return self._text.words(batch)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the cross-entropy of finding each second text; others of the same target are no negatives."""
        found = self._vectors(output, batch)
        logits = found.first @ found.second.T / self.temperature
        key = torch.stack([found.group.double(), found.target])
        same = (key[:, :, None] == key[:, None, :]).all(dim=0).fill_diagonal_(False)
        return F.cross_entropy(
            logits.masked_fill(same, -torch.inf), torch.arange(len(logits), device=logits.device)
        )

    def metrics(self) -> MetricCollection:
        """Return the scores of a whole split, as one metric with several values."""
        score = {
            "similarity": lambda: scores.by_set("spearman", scores.spearman, self._reading.names),
            "classification": lambda: scores.by_set("accuracy", scores.probe, self._reading.names),
        }.get(self.kind, lambda: scores.search)()
        return MetricCollection({"embedded": scores.Collected(score)})

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        metrics.update(self._vectors(output, batch))

    def whole(self, predict: Predict, folder: Path) -> dict[str, float] | None:
        """Run mteb, where it is what scores; its results are written to `folder`/mteb, in its own form."""
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
        """Return the declaration of a metric: of one data set, that of the metric that ranks, by the set's name."""
        return self.specs.get(metric) or self.primary.model_copy(update={"name": metric})

    def split_sizes(self) -> dict[str, int]:
        """Return the number of examples of each split; of mteb's tasks none, for it counts texts."""
        if self._mteb is not None:
            return {}
        test = sum(example.scored for example in self._reading.roles["test"])
        return {**super().split_sizes(), "test": test}

    def examples(self, metric: str, total: int) -> int:
        """Return the number of examples behind a metric: of one data set, its own."""
        reading = self._reading
        if self.kind == "mteb" or metric not in reading.names:
            return total
        return sum(
            e.scored for e in reading.roles["test"] if e.group == reading.names.index(metric)
        )

    def content(self, sample: Sample) -> bytes:
        """Return the texts."""
        return "\0".join(sample[1].texts).encode()

    def scored(self, batch: Batch) -> int:
        """Return the number of examples that are not there for fitting a probe only."""
        return int(batch["scored"].sum())
