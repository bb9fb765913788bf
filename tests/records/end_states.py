"""End states of tiny runs: every router in a few layers, every task family through the engine."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch
from datasets import Dataset
from timm.layers import Mlp
from torch import Tensor, nn

from moesuite import compose, fit, moefy
from moesuite.errors import UserError
from moesuite.nn.moe import aux_loss, limited_evaluation
from moesuite.records.protocol import ENGINE
from moesuite.routers import router_class
from moesuite.task import task_class

GROUPS, TOKENS, DIM, EXPERTS, STEPS = 4, 12, 16, 4, 3
PROJECTIONS = {"direction", "output", "limited", "weights"}  # values whose terms cancel
Values = dict[str, float]
Recorded = dict[
    str, Any
]  # versions: protocol versions by what they are of; states: values by label


class Blocks(nn.Module):
    """Two residual MLPs over tokens [G, T, D], to put MoE layers into."""

    def __init__(self) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(Mlp(DIM, 2 * DIM) for _ in range(2))

    def forward(self, x: Tensor, attention_mask: Tensor, input_ids: Tensor) -> Tensor:
        for mlp in self.mlps:
            x = x + mlp(x)
        return x


def projected(tensors: Iterable[Tensor]) -> float:
    """Return the sum of all values, each times the cosine of its place, in double precision."""
    flat = torch.cat([tensor.detach().double().flatten() for tensor in tensors])
    return float(flat @ torch.arange(len(flat), dtype=torch.float64).cos())


def of_router(name: str, options: Mapping[str, Any]) -> Values:
    """Return the end state of a few steps of gradient descent (Adam would magnify rounding)."""
    torch.manual_seed(0)
    x, target = torch.randn(2, GROUPS, TOKENS, DIM)
    ids = torch.arange(GROUPS * TOKENS).view(GROUPS, TOKENS)
    real = ids < GROUPS * TOKENS - TOKENS // 3  # the last sequence is shorter
    model = moefy(
        Blocks(),
        name,
        EXPERTS,
        "all",
        example={"x": x, "attention_mask": real, "input_ids": ids},
        **options,
    )
    for parameter in model.parameters():
        if parameter.ndim >= 2:  # experts that differ, and decisions that are no toss-up
            nn.init.normal_(parameter, std=0.15)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    descent = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        error = (model(x=x, attention_mask=real, input_ids=ids) - target)[real].square().mean()
        extra = aux_loss(model)
        descent.zero_grad()
        (error + extra).backward()
        descent.step()
    moved = [(now - old).detach() for now, old in zip(model.parameters(), start, strict=True)]
    values = {"loss": error.item(), "auxiliary": extra.item(), "direction": projected(moved)}
    with torch.no_grad():
        output = model.eval()(x=x, attention_mask=real, input_ids=ids)
        with limited_evaluation(model):
            limited = model(x=x, attention_mask=real, input_ids=ids)
    length = torch.cat([step.flatten() for step in moved]).norm().item()
    return values | {
        "moved": length,
        "output": projected([output[real]]),
        "limited": projected([limited[real]]),
    }


def variants(name: str) -> Iterator[dict[str, Any]]:
    """Yield the options of a router to try: its defaults, and each other choice of each option."""
    yield {}
    for option, parameter in list(
        inspect.signature(router_class(name).__init__).parameters.items()
    )[2:]:
        hint = inspect.get_annotations(router_class(name).__init__, eval_str=True)[option]
        choices: Sequence[Any] = get_args(hint) if get_origin(hint) is Literal else ()
        if isinstance(parameter.default, bool):
            choices = (True, False)
        elif option == "k":
            choices = (2,)
        yield from ({option: choice} for choice in choices if choice != parameter.default)


def router_states(name: str) -> Recorded:
    """Return protocol version and end states of a router, with each of its variants."""
    states = {}
    for options in variants(name):
        label = " ".join([name, *(f"{key}={value}" for key, value in options.items())])
        with suppress(UserError):  # choices that need one another
            states[label] = of_router(name, options)
    return {
        "versions": {f"router {name}": router_class(name).protocol, "engine": ENGINE},
        "states": states,
    }


def table(path: Path, **columns: list[Any]) -> None:
    """Write a parquet file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns).to_parquet(str(path))


def texts(count: int, start: int = 0) -> list[str]:
    return [
        f"number {n} is {'even' if n % 2 == 0 else 'odd'}, {n % 7} of seven"
        for n in range(start, start + count)
    ]


def write_data(folder: Path) -> None:
    """Write the data of the families that embed none."""
    (folder / "book.txt").write_text("\n".join(texts(300)), encoding="utf-8")
    for split, start, count in (("train", 0, 32), ("validation", 40, 16), ("test", 60, 16)):
        first, second = texts(count, start), texts(count, start + 100)
        table(folder / "pairs" / f"{split}.parquet", query=first, document=second)
        table(folder / "choices" / f"{split}.parquet", chosen=first, rejected=second)
        labels = [n % 2 for n in range(start, start + count)]
        table(folder / "rte" / f"{split}.parquet", sentence1=first, sentence2=second, label=labels)


BERT = "hidden_size=16 intermediate_size=32 num_hidden_layers=2 num_attention_heads=2"
GPT = "n_embd=16 n_layer=2 n_head=2"
ROUTER = "token_choice"
COMMON = (
    f"router={ROUTER} num_experts=4 optim.eps=0.001 optim.lr=0.02 data.batch_size=8 "
    "trainer.max_steps=3 trainer.val_check_interval=3"
)
QUIET = "measure=false logger=none trainer.enable_progress_bar=false"
QUIET += " data.workers=0 trainer.accelerator=cpu"
BYTES = "task.tokenizer=byte task.length=24"
FEW = "task.train=48 task.val=8 task.test=8 task.length=16"
RUNS = {  # family -> words of its runs by label
    "vision": {
        "digits": "task=digits",
        "augmented": "task=digits task.mixup=0.2 task.smoothing=0.1 task.hflip=0.5",
    },
    "language": {
        "causal": f"task=wikitext2 backbone=gpt_mini task.source=book.txt {BYTES} {GPT}",
        "masked": (
            f"task=wikitext2 backbone=bert_mini task.objective=masked "
            f"task.source=book.txt {BYTES} {BERT}"
        ),
    },
    "embeddings": {
        "search": f"task=stdlib_search backbone=bert_mini task.source=pairs {BYTES} {BERT}"
    },
    "understanding": {
        "rte": f"task=glue backbone=bert_mini task.subset=rte task.source=rte {BYTES} {BERT}"
    },
    "preferences": {
        "backgammon": "task=backgammon task.positions=60 task.test_positions=12 task.test_plies=0",
        "text": f"task=preferences_text backbone=bert_mini task.source=choices {BYTES} {BERT}",
    },
    "diagnostics": {
        "planted": f"task=planted_experts {FEW}",
        **{kind: f"task={kind} {FEW}" for kind in ("drift", "needles", "composition")},
        "memory": f"task=memory {FEW} task.facts=64",
        "paths": f"task=paths {FEW}",
        "future": f"task=future {FEW}",
    },
}


def of_family(words: str, folder: Path) -> Values:
    """Return the metrics of a short run, and the weights of its checkpoint."""
    options = [
        f"backbone.kwargs.{word}" if word in f"{BERT} {GPT}".split() else word
        for word in words.split()
    ]
    options = [word.replace("task.source=", f"task.source={folder}/") for word in options]
    record, path = fit(
        compose(*options, *COMMON.split(), *QUIET.split(), f"records={folder / 'runs'}")
    )
    weights = torch.load(path.with_suffix("") / "last.ckpt", weights_only=False)["state_dict"]
    floats = [weights[name] for name in sorted(weights) if weights[name].is_floating_point()]
    values = {name: quality.value for name, quality in record.quality.items()}
    values |= {f"limited {name}": quality.value for name, quality in record.limited_quality.items()}
    return values | {"loss": record.curve[-1].loss, "weights": projected(floats)}


def family_states(family: str) -> Recorded:
    """Return protocol version and end states of a task family."""
    with tempfile.TemporaryDirectory() as name:
        write_data(Path(name))
        states = {label: of_family(words, Path(name)) for label, words in RUNS[family].items()}
    versions = {
        f"family {family}": task_class(family).protocol,
        f"router {ROUTER}": router_class(ROUTER).protocol,
    }
    return {"versions": versions | {"engine": ENGINE}, "states": states}
