"""MLPs that are one module, of any library.

`read_mlp` recognises an MLP by its parts and returns a `DenseMLP`, the form that the rest of the
engine uses:
    plain:  down(norm(dropout1(act(up x))))
    gated:  down(norm(dropout1(act(gate x) · up x)))
with dropout2 at the end. timm's are `Mlp`, `ConvMlp`, `GluMlp` and `SwiGLU`; Hugging Face's are
those of GPT-2, LLaMA (and Mistral, Qwen, Gemma), T5, gated T5 and ViT.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from moesuite.models.mlps.linear import as_linear, halves
from moesuite.nn.experts import DenseMLP


class Form(NamedTuple):
    """Names of the parts of a Hugging Face MLP."""

    up: str
    down: str
    act: str
    gate: str | None = None
    drop1: str | None = None
    drop2: str | None = None


FORMS = [
    Form("c_fc", "c_proj", "act", drop2="dropout"),  # GPT-2
    Form("up_proj", "down_proj", "act_fn", gate="gate_proj"),  # LLaMA, Mistral, Qwen, Gemma
    Form("wi", "wo", "act", drop1="dropout"),  # T5
    Form("wi_1", "wo", "act", gate="wi_0", drop1="dropout"),  # T5 v1.1
    Form("fc1", "fc2", "activation_fn"),  # ViT, CLIP
]


def read_mlp(module: nn.Module) -> DenseMLP | None:
    """Return the parts of an MLP, or None for any other module."""
    names = set(dict(module.named_children()))
    for form in FORMS:
        if names == {name for name in form if name is not None}:
            return _read_form(module, form)
    return _timm(module)


def _read_form(module: nn.Module, form: Form) -> DenseMLP | None:
    up, down = as_linear(getattr(module, form.up)), as_linear(getattr(module, form.down))
    gate = None if form.gate is None else as_linear(getattr(module, form.gate))
    if up is None or down is None or (gate is None) != (form.gate is None):
        return None
    drops = [
        nn.Identity() if name is None else getattr(module, name)
        for name in (form.drop1, form.drop2)
    ]
    return DenseMLP(up, gate, down, getattr(module, form.act), drops[0], None, drops[1])


def _timm(module: nn.Module) -> DenseMLP | None:
    """Return the parts of timm's `Mlp`, `ConvMlp`, `GluMlp` and `SwiGLU`, or None.

    Convolutions wider than 1x1, MLPs that mix tokens inside (global response norm, spatial gates)
    and norms other than LayerNorm have no expert form and give None.
    """
    parts = {
        name: child for name, child in module.named_children() if not isinstance(child, nn.Identity)
    }
    layers = [name for name in ("fc1", "fc1_g", "fc1_x", "fc2") if name in parts]
    linears = {
        name: linear for name in layers if (linear := as_linear(parts.pop(name))) is not None
    }
    norm, act = parts.pop("norm", None), parts.pop("act", None)
    drops = [parts.pop(name, nn.Identity()) for name in ("drop", "drop1", "drop2")]
    if parts or act is None or "fc2" not in linears or len(linears) < max(2, len(layers)):
        return None
    if not isinstance(norm, nn.LayerNorm | None):
        return None
    if "fc1_g" in linears:
        gate, up = linears["fc1_g"], linears["fc1_x"]
    elif hasattr(module, "gate_last"):
        first, second = halves(linears["fc1"])
        gate, up = (second, first) if module.gate_last else (first, second)
    else:
        gate, up = None, linears["fc1"]
    channels_first = isinstance(module.fc2, nn.Conv2d)
    drop1 = drops[0] if channels_first else drops[1]  # ConvMlp has one dropout, between its layers
    return DenseMLP(up, gate, linears["fc2"], act, drop1, norm, drops[2], channels_first)
