"""Upcycle a timm model and train it in a loop of your own: one line is new, the auxiliary loss."""

import timm
import torch
from sklearn.datasets import load_digits

import moesuite

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 4 - 2  # [N, 1, 8, 8]
labels = torch.tensor(digits.target)

torch.manual_seed(0)
dense = timm.create_model(  # your model, with its weights
    "vit_tiny_patch16_224",
    in_chans=1,
    img_size=8,
    patch_size=2,
    depth=2,
    embed_dim=48,
    num_heads=3,
    num_classes=10,
)
model, receipt = moesuite.upcycle(
    dense, "token_choice", num_experts=4, layers="every_other", slots_per_token=2.0, k=2
)
print(receipt.verdict)

optimizer = torch.optim.AdamW(model.train().parameters(), lr=2e-3)
for step in range(121):
    batch = torch.randint(len(images), (64,))
    loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
    total = loss + moesuite.aux_loss(model)  # the new line: once for each forward in training
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    if step % 40 == 0:
        print(f"step {step}: loss {loss:.3f}, with auxiliary loss {total:.3f}")

moesuite.save_moe(model, "moe_digits")
again = moesuite.load_moe("moe_digits")
model.eval()
print("same answers:", torch.equal(again(images[:8]), model(images[:8])))
