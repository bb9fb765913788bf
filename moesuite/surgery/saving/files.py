"""Files of saved models: torch files, and folders of safetensors and JSON."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn

from moesuite.config.options import checked
from moesuite.errors import UserError
from moesuite.records.store import atomic, write_text
from moesuite.routing.layer import with_dimension
from moesuite.surgery.checkpoint_format import FORMAT, Description, without_extras
from moesuite.surgery.saving.answer import Answer
from moesuite.surgery.saving.marker import ANSWER, BESIDE, CONFIG, INDEX, KEY, SHARDS, SINGLE
from moesuite.surgery.weights import OURS, SHOWN, misfits

WRITTEN = (
    "what save_moe or save_pretrained wrote of a model with MoE layers, or the last.ckpt of a run"
)
LONGEST = 200  # characters that are quoted of a library's error
UNREADABLE = (  # what libraries raise for files that are broken, or not what their names say
    OSError,
    RuntimeError,
    ValueError,
    LookupError,
    AssertionError,
    ArithmeticError,
    TypeError,
    AttributeError,
    EOFError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
    StrictDataclassError,
)


@dataclass(frozen=True)
class SavedModel:
    """A saved model.

    Attributes:
        description: of its MoE layers.
        dense: recipe of the dense model as it was read, or None.
        state: its weights by name.
        answer: to the fixed example, or None.
        attributes: of its modules if no example was known, or None.
    """

    description: Description
    dense: Any
    state: Mapping[str, Tensor]
    answer: Answer | None
    attributes: Any


def read_saved(path: Path) -> SavedModel:
    """Read a folder of safetensors, or a torch file.

    Raises:
        UserError: for a path that is none, or a file that is broken or of another format.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file or folder; expected {WRITTEN}")
    if path.suffix == ".safetensors":
        raise UserError(
            f"{path}: weights alone, whose description stands beside; type load_moe("
            f"{str(path.parent)!r})"
        )
    with readable(path):
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        state = dict(loaded["state_dict"])
        if "pytorch-lightning_version" in loaded:
            state = {
                name.removeprefix(OURS): value
                for name, value in state.items()
                if name.startswith(OURS)
            }
        about, answer = loaded.get(KEY), loaded.get("answer")
        answer = None if answer is None else Answer(**answer)
        return SavedModel(*described(path, about), state, answer, about.get("attributes"))


def write_file(
    path: Path, model: nn.Module, about: Mapping[str, Any], answer: Answer | None
) -> None:
    """Write a torch file, whole or not at all."""
    content = {KEY: dict(about), "state_dict": model.state_dict()}
    if answer is not None:
        content["answer"] = vars(answer)
    with atomic(path) as part:
        torch.save(content, part)


def write_folder(folder: Path, model: nn.Module, about: Mapping[str, Any]) -> None:
    """Write weights and description of a model that is not of Hugging Face."""
    (folder / ANSWER).unlink(missing_ok=True)  # of other weights
    with atomic(folder / SINGLE) as part:
        safetensors.torch.save_model(model, str(part))
    write_text(folder / BESIDE, json.dumps(about, indent=1) + "\n")
    if _describes_layers(folder / CONFIG):  # an earlier save of a Hugging Face model
        for file in (folder / CONFIG, folder / INDEX, *folder.glob(SHARDS)):
            file.unlink(missing_ok=True)


def is_pretrained_folder(folder: Path) -> bool:
    """Return whether what was saved last in a folder is a Hugging Face model."""
    config = folder / CONFIG
    return config.is_file() and (not (folder / BESIDE).is_file() or _describes_layers(config))


def _describes_layers(config: Path) -> bool:
    return config.is_file() and KEY in read_json(config)


def write_answer(folder: Path, answer: Answer) -> None:
    """Write the answer beside the weights."""
    tensors = {f"inputs.{name}": value for name, value in answer.inputs.items()}
    about = {"device": answer.device, "versions": json.dumps(answer.versions)}
    with atomic(folder / ANSWER) as part:
        safetensors.torch.save_file({**tensors, "output": answer.output}, str(part), about)


def read_answer(folder: Path) -> Answer | None:
    """Read the answer beside the weights; None if there is none.

    Raises:
        UserError: for a file that is broken.
    """
    path = folder / ANSWER
    if not path.is_file():
        return None
    with readable(path), safetensors.safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        about = file.metadata()
        output = tensors.pop("output")
        inputs = {name.removeprefix("inputs."): value for name, value in tensors.items()}
        return Answer(inputs, output, about["device"], json.loads(about["versions"]))


def _read_folder(folder: Path) -> SavedModel:
    files = sorted(file for file in folder.glob("*.safetensors") if file.name != ANSWER)
    files = [file for file in files if file.name == SINGLE] or files
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{folder}: an adapter of PEFT, without the model; type peft.PeftModel.from_pretrained("
            "moesuite.load_moe(<folder of the model>), <this folder>)"
        )
    if not files:
        raise UserError(f"{folder}: no .safetensors in this folder; expected {WRITTEN}")
    state: dict[str, Tensor] = {}
    for file in files:
        with readable(file):
            state |= safetensors.torch.load_file(file)
    beside = folder / BESIDE
    about = read_json(beside) if beside.is_file() else None
    description, dense = described(folder, about)
    attributes = (about or {}).get("attributes")
    return SavedModel(description, dense, state, read_answer(folder), attributes)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: for a file that is none.
    """
    with readable(path):
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            return values
    raise UserError(f"{path}: not readable (no JSON object); expected {WRITTEN}")


def described(path: Path, about: Any) -> tuple[Description, Any]:
    """Return the description and the recipe of the dense model, which may be None.

    Raises:
        UserError: if there is no description, or one of another format.
    """
    if not isinstance(about, dict):
        problem = "without a description of MoE layers"
    elif about.get("format") != FORMAT:
        problem = f"of form {about.get('format')}"
    else:
        return checked(Description, without_extras(about), str(path)), about.get("dense")
    raise UserError(
        f"{path}: weights {problem}, from before form {FORMAT} or not of moesuite; expected "
        f"{WRITTEN}; build the model as it was built then, load the weights by load_state_dict, "
        "and type save_moe(model, path)"
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what libraries raise for a broken file into one line.

    Raises:
        UserError: naming the file.
    """
    try:
        yield
    except UserError:
        raise
    except UNREADABLE as error:
        what = " ".join(str(error).split())[:LONGEST] or type(error).__name__
        raise UserError(f"{path}: not readable ({what}); expected {WRITTEN}") from None


def load_weights(model: Any, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Copy weights into `model`; a tied weight, which has several names, is saved once."""
    targets = model.state_dict()
    tied = {value.data_ptr(): state[name] for name, value in targets.items() if name in state}
    weights: dict[str, Tensor] = {}
    for name, target in targets.items():
        value = state.get(name, tied.get(target.data_ptr()))
        if value is not None:
            weights[name] = with_dimension(value, target)
    if wrong := misfits(targets, weights):
        raise UserError(
            f"{path}: {wrong}; expected weights of the described model; type "
            "model=<the dense model>"
        )
    _refuse_foreign(state.keys() - targets.keys(), path)
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(weights[name].dtype)  # as it was saved
    model.load_state_dict(weights)


def _refuse_foreign(names: Iterable[str], path: str | Path) -> None:
    if foreign := sorted(names):
        raise UserError(
            f"{path}: weights that the described model does not have: {', '.join(foreign[:SHOWN])}"
        )
