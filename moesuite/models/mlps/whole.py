"""MLPs that are one module, of any library.

`read_mlp` recognises an MLP by its parts and returns a `DenseMLP`, the form that the rest of the
engine uses:
    plain:  down(norm(dropout1(act(up x))))
    gated:  down(norm(dropout1(act(gate x) · up x)))
with dropout2 at the end. timm's are `Mlp`, `ConvMlp`, `GluMlp` and `SwiGLU`; Hugging Face's are
those of `FORMS`. Whether a module does just that with its parts is `moesuite.models.mlps.verify`'s
to say.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from moesuite.models.mlps.linear import as_linear, halves
from moesuite.nn.experts import DenseMLP


class Form(NamedTuple):
    """Names of the parts of a Hugging Face MLP.

    Attributes:
        up, down, act, gate: modules; where there is no gate, `up` may be both side by side.
        drop1, drop2: modules, or attributes with a rate of dropout; either may be missing.
        gate_last: whether the gate is the second half of `up`.
    """

    up: str
    down: str
    act: str
    gate: str | None = None
    drop1: str | None = None
    drop2: str | None = None
    gate_last: bool = False


FORMS = [
    Form("c_fc", "c_proj", "act", drop2="dropout"),  # GPT-2
    # LLaMA, Mistral, Qwen, Gemma; T5Gemma; Seed-OSS
    Form(
        "up_proj",
        "down_proj",
        "act_fn",
        gate="gate_proj",
        drop1="dropout",
        drop2="residual_dropout",
    ),
    Form("wi", "wo", "act", drop1="dropout"),  # T5
    Form("wi_1", "wo", "act", gate="wi_0", drop1="dropout"),  # T5 v1.1
    # ViT, CLIP; DETR; Moonshine
    Form(
        "fc1", "fc2", "activation_fn", drop1="activation_dropout", drop2="dropout", gate_last=True
    ),
    Form("gate_up_proj", "down_proj", "activation_fn"),  # Phi-3, GLM-4
    Form("Wi", "Wo", "act", drop1="drop"),  # ModernBERT
]


def read_mlp(module: nn.Module) -> DenseMLP | None:
    """Return the parts of an MLP, or None for any other module."""
    names = set(dict(module.named_children()))
    for form in FORMS:
        needed = {name for name in (form.up, form.down, form.act, form.gate) if name is not None}
        if needed <= names <= needed | {form.drop1, form.drop2}:
            return _read_form(module, form)
    return _timm(module)


def _read_form(module: nn.Module, form: Form) -> DenseMLP | None:
    up, down = as_linear(getattr(module, form.up)), as_linear(getattr(module, form.down))
    gate = None if form.gate is None else as_linear(getattr(module, form.gate))
    if up is None or down is None or (gate is None) != (form.gate is None):
        return None
    if gate is None and up.out_features == 2 * down.in_features:
        first, second = halves(up)
        gate, up = (second, first) if form.gate_last else (first, second)
    drop1, drop2 = (_dropout(module, name) for name in (form.drop1, form.drop2))
    return DenseMLP(up, gate, down, getattr(module, form.act), drop1, None, drop2)


def _dropout(module: nn.Module, name: str | None) -> nn.Module:
    """Return the dropout of this name, a module or the rate of a function; or the identity."""
    part = None if name is None else getattr(module, name, None)
    if isinstance(part, nn.Module):
        return part
    return nn.Dropout(part) if isinstance(part, float | int) else nn.Identity()


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
    only = parts.pop("drop", nn.Identity())  # ConvMlp has one dropout, between its layers
    drop1, drop2 = parts.pop("drop1", only), parts.pop("drop2", nn.Identity())
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
    return DenseMLP(up, gate, linears["fc2"], act, drop1, norm, drop2, channels_first)
