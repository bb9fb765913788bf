"""Floating-point operations while a function runs, by module, and the operations that have no formula.

1 multiply-add = 2 FLOPs; GFLOP = 10⁹ FLOPs, twice the "GMAC" of other tools. Matrix products,
convolutions and attention are counted, by torch's FlopCounterMode and the formulas added here.
Element-wise work, reductions, normalisation, softmax and sorting are not, as everywhere in the
field: a Sinkhorn iteration is seen in the measured time only. Any other operation is named in
`uncounted`, never silently zero.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from torch.utils.module_tracker import ModuleTracker

# of torch's own operations, those that are matrix products, transforms or whole layers, and have no
# formula
COSTLY = re.compile(
    r"_?fft.*|linalg_(?!vector_norm).*|.*(lstm|gru|rnn).*|_?cdist.*|_trilinear|.*attention.*|.*grouped_mm.*|.*_mm|"
    r"_transformer_encoder.*|mkldnn_.*|quantized.*|addbmm|addmv|addr|.*conv.*"
)


@dataclass
class Counted:
    """FLOPs by module path, "Global" being all, and "module: operation" for what has no formula."""

    flops: dict[str, int] = field(default_factory=dict)
    uncounted: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """All FLOPs."""
        return self.flops.get("Global", 0)

    def within(self, path: str) -> int:
        """FLOPs of the module at `path`."""
        return self.flops.get(path, 0)


def count_flops(function: Callable[[], Any]) -> Counted:
    """Run `function` and count."""
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    watch = _Watch()
    with watch, counter:  # the counter is the inner one: it takes composite operations apart
        function()
    flops = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    return Counted(flops, watch.uncounted)


class _Watch(TorchDispatchMode):
    """Notes operations that no formula knows."""

    def __init__(self) -> None:
        super().__init__()
        self.uncounted: set[str] = set()
        self.tracker = ModuleTracker()

    def __enter__(self) -> _Watch:
        self.tracker.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.tracker.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func._overloadpacket
        if (
            packet not in flop_registry
            and packet not in FORMULAS
            and is_costly(func.namespace, packet.__name__)
        ):
            where = max(self.tracker.parents - {"Global"}, key=len, default="model")
            self.uncounted.add(f"{where}: {func.namespace}.{packet.__name__}")
        return func(*args, **(kwargs or {}))


@functools.cache  # asked at every operation of a model
def is_costly(namespace: str, operation: str) -> bool:
    """Return whether an operation without a formula may be more than element-wise work: a custom one always may."""
    return (
        namespace not in ("aten", "prim", "prims", "profiler")
        or COSTLY.fullmatch(operation) is not None
    )


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Count scores and their product with values; torch 2.11's own refuses fewer heads of keys than of queries."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (width + value[3])


def _attention_backward(_: Any, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> int:
    """Count gradients of queries and keys, and the scores once more; gradients of scores and values."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (3 * width + 2 * value[3])


def _matrix_vector(matrix: Any, *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _dot(vector: Any, *_: Any, **__: Any) -> int:
    return 2 * vector[0]


def _grouped(left: Any, right: Any, *_: Any, **__: Any) -> int:
    """Rows of `left` meet one matrix of `right` each; where both are flat, their shared axis is divided."""
    rows = left[0] * left[1] if len(left) == 3 else left[0]
    return 2 * rows * left[-1] * right[-1]


FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten._grouped_mm: _grouped,
    torch.ops.aten.mv: _matrix_vector,
    torch.ops.aten.dot: _dot,
    torch.ops.aten.vdot: _dot,
}


class Saved(torch.autograd.graph.saved_tensors_hooks):
    """Within this, what autograd keeps for a backward pass is noted.

    Args:
        known: tensors that are there anyway (parameters, buffers) and not counted.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        self._known = {tensor.untyped_storage() for tensor in known}
        self._kept: set[Any] = set()
        super().__init__(self._note, lambda tensor: tensor)

    def _note(self, tensor: Tensor) -> Tensor:
        self._kept.add(tensor.untyped_storage())
        return tensor

    def same(self, one: Tensor, other: Tensor) -> None:
        """Count `one` and `other` once, where both were kept: they stand for one tensor."""
        if {one.untyped_storage(), other.untyped_storage()} <= self._kept:
            self._known.add(one.untyped_storage())

    @property
    def bytes(self) -> int:
        """Bytes of what was kept, each storage once."""
        return sum(storage.nbytes() for storage in self._kept - self._known)
