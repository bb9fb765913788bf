"""Train a sentence-transformers model with experts in its encoder; needs accelerate."""

import inspect
import statistics
import string
import textwrap

import torch
import transformers
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.models import Pooling, Transformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import moesuite

# pairs at hand: names of functions and the first lines of what they are documented to do
pairs = [
    (name.replace("_", " "), textwrap.shorten(inspect.getdoc(function) or "", 80))
    for module in (inspect, statistics, string, textwrap, torch)
    for name, function in vars(module).items()
    if callable(function) and not name.startswith("_") and inspect.getdoc(function)
][:200]

tokens = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokens.pre_tokenizer = pre_tokenizers.Whitespace()
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=special)
tokens.train_from_iterator((text for pair in pairs for text in pair), trainer)
tokenizer = transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokens, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
)
config = transformers.BertConfig(
    vocab_size=500, hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96
)
transformers.BertModel(config).save_pretrained("small_encoder")
tokenizer.save_pretrained("small_encoder")

# SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2") where there is a network
encoder = Transformer("small_encoder")
model = SentenceTransformer(modules=[encoder, Pooling(48)], device="cpu")
moesuite.moefy(model[0].auto_model, router="expert_choice", num_experts=4, slots_per_token=2.0)

Trainer = moesuite.with_aux_loss(SentenceTransformerTrainer)
training = Trainer(
    model=model,
    args=SentenceTransformerTrainingArguments(
        output_dir="sentence_transformers",
        max_steps=20,
        per_device_train_batch_size=16,
        learning_rate=2e-3,
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    ),
    train_dataset=Dataset.from_list([{"anchor": name, "positive": text} for name, text in pairs]),
    loss=MultipleNegativesRankingLoss(model),
)
training.train()
for entry in training.state.log_history[:-1]:
    print(f"step {entry['step']}: loss {entry['loss']:.3f}")
alone = model.encode(["sum of numbers"])
batch = model.encode(["sum of numbers", "shorten a text to a width, ending in dots"])
print("padding changes an embedding by", f"{abs(alone[0] - batch[0]).max():.1e}")
