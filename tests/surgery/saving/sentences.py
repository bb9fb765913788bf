"""A small model of sentence-transformers, with a vocabulary of letters."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
import transformers

from tests.surgery.dense_models import SMALL

TEXTS = ["a b c", "d e f g h i j"]


def sentence_transformer(folder: Path) -> Any:
    """Return mean-pooled BERT with a prompt, whose files are in `folder`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_lowercase]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=50, **SMALL)
    transformers.BertModel(config).save_pretrained(folder)
    modules = [Transformer(str(folder)), Pooling(32), Normalize()]
    return SentenceTransformer(modules=modules, prompts={"query": "a: "}, device="cpu")
