"""Sentence understanding: fine-tuning on a set of GLUE or SuperGLUE, by its official metrics.

classification: a head on one or two texts; in a choice (COPA, ReCoRD) it scores each alternative,
and the softmax over them is trained. text_to_text (T5, https://arxiv.org/abs/1910.10683, appendix
D): the answer is generated in words; in evaluation the alternative of the largest likelihood counts
(rank classification, Sanh et al. 2021, https://arxiv.org/abs/2110.08207), so that every answer is
valid and evaluation has no decoding options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from torchmetrics import MetricCollection

from moesuite.records.metrics import UNDERSTANDING
from moesuite.task import Batch, Columns, Preview, Task
from moesuite.tasks.options import About, Tokens
from moesuite.tasks.text.encoder import TextEncoder, padded, text_encoder
from moesuite.tasks.understanding.answers import Answered, count
from moesuite.tasks.understanding.forms import STEP
from moesuite.tasks.understanding.predictions import answered
from moesuite.tasks.understanding.preview import preview
from moesuite.tasks.understanding.questions import Benchmark, Questions, read_questions
from moesuite.tasks.understanding.rows import Rows, Sample

IGNORED = -100  # a target that is not scored


class Understanding(Task):
    """Answer questions on sentences."""

    specs = UNDERSTANDING

    def __init__(
        self,
        name: str = "understanding",
        data: Benchmark = Benchmark(),
        objective: Literal["classification", "text_to_text"] = "classification",
        tokens: Tokens = Tokens(tokenizer="bpe", length=128),
        about: About = About(),
    ) -> None:
        """Declare a set of a benchmark.

        Args:
            name: name of the task.
            data: the benchmark and one of its sets.
            objective: classification by a head, or text_to_text by an encoder and a decoder.
            tokens: tokenizer and length.
            length: tokens that are kept of a text or a pair of texts, >= 8.
            about: for the reader.

        Raises:
            UserError: for a set that is not among `sets`.
        """
        self.name = name
        self.data = data
        self.declared = data.declared
        self.objective = objective
        self.tokenizer = tokens.tokenizer
        self.length = tokens.length
        self.about = about
        self.in_words = self.causal_decoder = objective == "text_to_text"
        metrics = self.declared.metrics
        self.primary = UNDERSTANDING[metrics[0] if len(metrics) == 1 else "score"]
        self.unreadable = []

    def prepare(self) -> None:
        """Load the set; see `Task.prepare`."""
        self.fingerprint, self.description = self._read.fingerprint, self._read.description
        self.notes = self._read.notes

    @cached_property
    def _read(self) -> Questions:
        return read_questions(self.data)

    @cached_property
    def _text(self) -> TextEncoder:
        """The tokenizer, loaded or trained once."""

        def train() -> list[str]:
            questions = self._read.roles["train"]
            pairs = chain.from_iterable(question.pairs for question in questions)
            texts = list(chain.from_iterable(pairs))
            if self.in_words:
                texts += [f"{question.prompt} {question.words}" for question in questions]
            return texts

        return text_encoder(self.tokenizer, self.length, train)

    @property
    def in_memory(self) -> bool:
        """True: texts are ready."""
        return True

    @property
    def example_split(self) -> Literal["train", "test"]:
        """The training split: in words it has a row per question, test one per alternative."""
        return "train"

    def backbone_arguments(self) -> dict[str, Any]:
        """Return head, vocabulary, length and classes, by Hugging Face's names."""
        fit = {
            "head": self.objective,
            "vocab_size": self._text.size,
            "max_position_embeddings": self.length,
        }
        classes = {} if self.in_words else {"num_labels": self.declared.classes}
        return {**fit, **classes, "pad_token_id": self._text.padding}

    def blank(self) -> dict[str, Tensor]:
        """Return a question of full length."""
        ids = torch.zeros(1, self.length, dtype=torch.long, device="meta")
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self.in_words:
            words = ids[:, :8]
            inputs |= {"decoder_input_ids": words, "decoder_attention_mask": torch.ones_like(words)}
        return inputs

    def dataset(self, split: Literal["train", "val", "test"]) -> Dataset[Any] | None:
        """Return a split."""
        if split == "val":
            return None
        return Rows(self._read.roles[split], self.in_words, split == "train")

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Join questions [B] to rows [R, T], with number of rows, index and answer of each [B]."""
        batch = {
            **self._text.rows(list(chain.from_iterable(sample.texts for sample in samples))),
            "rows": torch.tensor([len(sample.texts) for sample in samples]),
            "index": torch.tensor([sample.number for sample in samples]),
            "answer": torch.tensor([sample.answer for sample in samples]),
        }
        if self.in_words:
            batch |= self._decoder(list(chain.from_iterable(sample.words for sample in samples)))
        return batch

    def _decoder(self, words: Sequence[str]) -> dict[str, Tensor]:
        """Return the labels of words, and the decoder's inputs: the labels after T5's start token.

        The start token of T5 is the one of padding.
        """
        tokens = padded(self._text.encode(words), self._text.padding)
        ids, mask = tokens["input_ids"], tokens["attention_mask"]
        start = torch.full_like(ids[:, :1], self._text.padding)
        return {
            "decoder_input_ids": torch.cat([start, ids[:, :-1]], dim=1),
            "decoder_attention_mask": mask,
            "labels": ids.masked_fill(mask == 0, IGNORED),
        }

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids, padding masks, and the token types of tokenizers that have them."""
        not_inputs = ("rows", "index", "answer", "labels")
        return {key: value for key, value in batch.items() if key not in not_inputs}

    def _scores(self, output: Any, batch: Batch) -> Float[Tensor, "B A"]:
        """Return the score of each class or alternative; -inf where a question has fewer."""
        if self.in_words:
            nats = F.cross_entropy(
                output.logits.float().transpose(1, 2), batch["labels"], reduction="none"
            )
            values = -nats.sum(dim=1)  # 0 where labels are ignored
        elif self.declared.is_choice:
            values = output.logits.float().squeeze(1)
        else:
            return output.logits.float()
        return pad_sequence(list(values.split(batch["rows"].tolist())), True, -torch.inf)

    def shown(self, batch: Batch) -> list[list[str]]:
        """Return the words of the texts."""
        return self._text.words(batch)

    def preview(self, split: Literal["train", "val", "test"]) -> Preview:
        """Return the texts of the questions, with their answers."""
        return preview(
            self._read.roles[split], self.declared, self._text.count, self.length, self.in_words
        )

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the cross-entropy of words or alternatives, or the squared error of scores."""
        if self.in_words:
            return F.cross_entropy(output.logits.flatten(0, 1), batch["labels"].flatten())
        scores = self._scores(output, batch)
        if self.declared.form == "score":
            return F.mse_loss(scores.squeeze(1), batch["answer"])
        return F.cross_entropy(scores, batch["answer"].long())

    def metrics(self) -> MetricCollection:
        """Return the official metrics, as one metric with several values."""
        return MetricCollection(
            {"answered": Answered(self._read.roles["test"], self.declared.metrics)}
        )

    def update(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        """Add a batch."""
        metrics.update(batch["index"], self._answers(self._scores(output, batch)))

    def _answers(self, scores: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """Return the answers: indices of classes or alternatives, or similarities."""
        if self.declared.form == "score" and not self.in_words:
            return scores.squeeze(1)
        answers = scores.argmax(dim=1).float()
        return answers * STEP if self.declared.form == "score" else answers

    def predictions(self, output: Any, batch: Batch) -> Columns:
        """Return the answers to the questions of a test batch, and their scores."""
        scores, is_score = self._scores(output, batch), self.declared.form == "score"
        questions, parts, answers = self._read.roles["test"], self.declared.test, self._answers
        return answered(questions, parts, batch["index"], answers(scores), scores, is_score)

    def size(self, batch: Batch) -> int:
        """Return the number of questions."""
        return len(batch["index"])

    def examples(self, metric: str, total: int) -> int:
        """Return the number of examples behind a metric, if the whole split was scored."""
        questions = self._read.roles["test"]
        return count(metric, questions) if total == len(questions) else total

    def contents(self, split: Literal["train", "val", "test"]) -> Iterator[bytes] | None:
        """Return the texts of each question, with all alternatives."""
        questions = self._read.roles.get(split)
        if questions is None:
            return None
        return ("\0".join(chain.from_iterable(each.pairs)).encode() for each in questions)

    def content(self, sample: Sample) -> bytes:
        """Return the texts."""
        return "\0".join(chain.from_iterable(sample.texts)).encode()
