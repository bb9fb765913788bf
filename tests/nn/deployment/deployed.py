"""Deploy small models, and print how far each is from the eager one, as a line of JSON per router.

python -m tests.nn.deployment.deployed export vit token_choice soft
In a process of its own: beartype, which checks shapes in tests, can neither be traced nor compiled.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

import moesuite
from moesuite import for_export, moefy
from moesuite.nn.moe import moe_layers
from tests.surgery.dense_models import build

DYNAMIC = torch.export.Dim.DYNAMIC
TEXT = ("bert", "gpt2")


def model_of(kind: str, router: str, **options: Any) -> nn.Module:
    """Return a model with one MoE layer, its gates and thresholds such that experts differ."""
    if router == "soft" and kind in TEXT:
        options["slots_per_expert"] = 2
    if router.startswith("sparsity"):
        options["iterations"] = 4  # each of them is in the graph
    model = build(kind)
    if kind == "gpt2":
        model.config.use_cache = False  # type: ignore[union-attr]
    model = moefy(model, router, 4, layers=[1], **options)
    torch.manual_seed(1)
    for _, layer in moe_layers(model):
        for parameter in (*layer.router.parameters(), *layer.experts.parameters()):
            parameter.data.add_(torch.randn_like(parameter), alpha=0.3)
        if hasattr(layer.router, "threshold"):
            layer.router.threshold.fill_(0.2)
    return model.eval()


def inputs_of(kind: str, batch: int, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return images, or texts of 33 tokens of which some are padding."""
    draw = torch.Generator().manual_seed(seed)
    if kind not in TEXT:
        side = 64 if kind == "convnext" else 16
        return {"x": torch.randn(batch, 3, side, side, generator=draw).to(dtype)}
    ids = torch.randint(0, 50, (batch, 33), generator=draw)
    lengths = torch.randint(10, 34, (batch,), generator=draw)
    return {"input_ids": ids, "attention_mask": (torch.arange(33) < lengths[:, None]).long()}


def answer(model: Callable[..., Any], inputs: dict[str, Tensor]) -> Tensor:
    output = model(inputs["x"]) if "x" in inputs else model(**inputs)
    return output if isinstance(output, Tensor) else output.logits


def distance(one: Tensor, other: Tensor) -> float:
    """Return the largest difference, relative to the largest answer."""
    return float((one - other).abs().max() / other.abs().max())


@torch.no_grad()
def export(kind: str, router: str, *words: str) -> dict[str, float]:
    """Return distances of static form, exported program and ONNX graph, at another batch size.

    Words: bfloat16, limited (a capacity in evaluation), strict.
    """
    dtype = torch.bfloat16 if "bfloat16" in words else torch.float32
    model = model_of(kind, router).to(dtype)
    small, large = (inputs_of(kind, batch, batch, dtype) for batch in (2, 5))
    dropless = answer(model, large)
    for_export(model, 1.0 if "limited" in words else None)
    eager = answer(model, large)
    positional = (small["x"],) if "x" in small else ()
    dynamic: Any = ({0: DYNAMIC},) if positional else {name: {0: DYNAMIC} for name in small}
    program = torch.export.export(
        model,
        positional,
        {} if positional else small,
        dynamic_shapes=dynamic,
        strict="strict" in words,
    )
    found = {
        "static": distance(eager, dropless),
        "export": distance(answer(program.module(), large), eager),
    }
    if dtype == torch.float32:
        graph = torch.onnx.export(program, dynamo=True, verbose=False)
        assert graph is not None
        session = onnxruntime.InferenceSession(graph.model_proto.SerializeToString())
        names = [part.name for part in session.get_inputs()]
        feed = {name: large[name].numpy() for name in names}
        found["onnx"] = distance(torch.from_numpy(session.run(None, feed)[0]), eager)
    return found


def compile(kind: str, router: str) -> dict[str, float | str]:
    """Return distances of the compiled model in evaluation and training; "breaks" if it does.

    In training the auxiliary losses count too.
    """
    found: dict[str, float | str] = {}
    for training in (False, True):
        torch.compiler.reset()
        model = model_of(kind, router)
        model.train() if training else for_export(model)
        inputs = inputs_of(kind, 2, 0, torch.float32)
        twin = copy.deepcopy(model)  # running statistics of one model would be two steps on
        answers = []
        try:
            compiled = torch.compile(twin, fullgraph=True, backend="eager")
            for module, host in ((model, model), (compiled, twin)):
                torch.manual_seed(3)
                y = answer(module, inputs)
                answers.append(torch.cat([y.flatten(), moesuite.aux_loss(host)[None]]))
            found["training" if training else "evaluation"] = distance(*answers)
        except Exception:
            found["training" if training else "evaluation"] = "breaks"
    return found


def lines(what: str, kind: str, routers: list[str], words: list[str]) -> Iterator[dict[str, Any]]:
    work: Callable[..., dict[str, Any]] = {"export": export, "compile": compile}[what]
    for router in routers:
        yield {"router": router, **work(kind, router, *words)}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    what, kind, *rest = sys.argv[1:]
    words = [word for word in rest if word in ("bfloat16", "limited", "strict")]
    for line in lines(what, kind, [word for word in rest if word not in words], words):
        print(json.dumps(line), flush=True)
