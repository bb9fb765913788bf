"""Adapt the experts of an upcycled model by LoRA (pip install peft): few weights are trained."""

import torch
import transformers
from peft import LoraConfig, get_peft_model

import moesuite

torch.manual_seed(0)
config = transformers.BertConfig(
    vocab_size=64, hidden_size=48, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96
)
dense = transformers.BertForSequenceClassification(config)  # or .from_pretrained(...)
moe, _ = moesuite.upcycle(dense, "token_choice", num_experts=4, layers="all")

# experts are stacked weights [E, in, out], which peft adapts as parameters; routers are new here,
# and trained as a whole
lora = LoraConfig(
    r=4,
    target_modules=["query", "value"],
    target_parameters=["experts.up.weight", "experts.down.weight"],
    modules_to_save=["router", "classifier"],
)
model = get_peft_model(moe, lora)
model.print_trainable_parameters()

ids = torch.randint(64, (256, 12))
labels = (ids[:, 0] > 31).long()  # the first token decides
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=5e-3)
for step in range(60):
    batch = torch.randint(len(ids), (32,))
    loss = model(input_ids=ids[batch], labels=labels[batch]).loss
    optimizer.zero_grad()
    (loss + moesuite.aux_loss(model)).backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss:.3f}")

model.eval()
before = model(input_ids=ids).logits
merged = model.merge_and_unload()  # a model with MoE layers again, as moesuite made it
print("merged differs by", f"{(merged(input_ids=ids).logits - before).abs().max():.1e}")
moesuite.save_moe(merged, "lora_merged")
