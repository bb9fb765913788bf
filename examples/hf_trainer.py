"""Train an upcycled language model with Hugging Face's Trainer, which needs accelerate."""

import inspect

import torch
import transformers

import moesuite

LENGTH = 64
text = torch.tensor(list(inspect.getsource(inspect).encode()))  # a text at hand: source code
rows = [
    {"input_ids": row, "labels": row}
    for row in text[: len(text) // LENGTH * LENGTH].view(-1, LENGTH)
]

config = transformers.GPT2Config(vocab_size=256, n_positions=LENGTH, n_embd=48, n_layer=2, n_head=2)
dense = transformers.GPT2LMHeadModel(config)  # or GPT2LMHeadModel.from_pretrained(...)
model, _ = moesuite.upcycle(dense, "switch", num_experts=4, slots_per_token=1.25)

Trainer = moesuite.with_aux_loss(transformers.Trainer)  # Seq2SeqTrainer and others likewise
trainer = Trainer(
    model=model,
    args=transformers.TrainingArguments(
        output_dir="hf_trainer",
        max_steps=30,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=3e-3,
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
    ),
    train_dataset=rows,
)
trainer.train()
for entry in trainer.state.log_history[:-1]:
    print(f"step {entry['step']}: loss {entry['loss']:.3f}, auxiliary {entry['aux_loss']:.4f}")

moesuite.save_moe(model, "hf_trainer/model")
