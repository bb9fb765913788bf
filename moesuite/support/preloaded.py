"""Imported once, before the processes of trials are forked: what each would import itself."""

from __future__ import annotations

import importlib

from transformers.conversion_mapping import get_checkpoint_conversion_mapping

for name in ("modeling_layers", "models.bert.modeling_bert", "models.llama.modeling_llama"):
    importlib.import_module(f"transformers.{name}")
importlib.import_module("moesuite.support.trial")
# patterns of renamed weights: compiled at the first call, a second of each process
get_checkpoint_conversion_mapping("llama")
