"""Try one model: in the process of a worker."""

from __future__ import annotations

import os
import time
import warnings

import torch
import transformers

from moesuite.support.checks.outcomes import try_reroute, try_upcycle
from moesuite.support.result import Library, Outcome, Result
from moesuite.support.small.hf_models import model_types
from moesuite.support.small.subject import NotBuilt, build, first_line
from moesuite.support.small.timm_models import families


def names(library: str) -> dict[str, str]:
    """Return the names of a library's families, each with that of the model that is built."""
    if library == "timm":
        return {name: models[0] for name, models in families().items()}
    return {name: classes[0] for name, classes in model_types().items()}


def attempt(library: Library, name: str, model: str) -> Result:
    """Build a small model and try all that can be done with it."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    begun = time.monotonic()
    try:
        subject = build(library, model if library == "timm" else name)
    except Exception as error:
        why = str(error) if isinstance(error, NotBuilt) else first_line(error)
        unsupported = Outcome(status="unsupported", detail=why)
        return Result(library=library, name=name, model=model, upcycle=unsupported)
    upcycled = try_upcycle(subject)
    rerouted = None
    if library == "hf" and any(
        "experts" in dict(module.named_children()) for module in subject.model.modules()
    ):
        rerouted = try_reroute(subject)
    return Result(
        library=library,
        name=name,
        model=model if library == "timm" else type(subject.model).__name__,
        upcycle=upcycled,
        reroute=rerouted,
        seconds=round(time.monotonic() - begun, 1),
    )
