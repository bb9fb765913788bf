"""FLOPs of a function by module, and the operations without a formula.

1 multiply-add = 2 FLOPs; GFLOP = 10⁹ FLOPs, twice the "GMAC" of other tools. Matrix products,
convolutions and attention are counted, by torch's FlopCounterMode and the formulas added here.
Element-wise operations, reductions, normalisation, softmax and sorting are not, as everywhere in
the field: a Sinkhorn iteration shows in the measured time only. Any other operation is named in
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

# operations of torch without a formula that are matrix products, transforms or whole layers
COSTLY = re.compile(
    r"_?fft.*|linalg_(?!vector_norm).*|.*(lstm|gru|rnn).*|_?cdist.*|_trilinear|.*attention.*|"
    r".*grouped_mm.*|.*_mm|"
    r"_transformer_encoder.*|mkldnn_.*|quantized.*|addbmm|addmv|addr|.*conv.*"
)


@dataclass
class Counted:
    """FLOPs by module path ("Global" for all), and "module: operation" without a formula."""

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
    """Run `function` and count its FLOPs."""
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    watch = _Watch()
    with watch, counter:  # counter inside: it decomposes composite operations
        function()
    flops = {name: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    return Counted(flops, watch.uncounted)


class _Watch(TorchDispatchMode):
    """Collect operations without a formula."""

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


@functools.cache  # called for every operation of a model
def is_costly(namespace: str, operation: str) -> bool:
    """Return whether an operation may be more than element-wise; a custom one always may."""
    return (
        namespace not in ("aten", "prim", "prims", "profiler")
        or COSTLY.fullmatch(operation) is not None
    )


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Count scores and their product with values.

    The formula of torch 2.11 refuses fewer heads of keys than of queries.
    """
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (width + value[3])


def _attention_backward(_: Any, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> int:
    """Count gradients of queries, keys, scores and values, and recomputed scores."""
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (3 * width + 2 * value[3])


def _matrix_vector(matrix: Any, *_: Any, **__: Any) -> int:
    return 2 * matrix[0] * matrix[1]


def _dot(vector: Any, *_: Any, **__: Any) -> int:
    return 2 * vector[0]


def _grouped(left: Any, right: Any, *_: Any, **__: Any) -> int:
    """Count rows of `left` times one matrix of `right` each.

    Where both have two axes, groups divide the shared one.
    """
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


class SavedTensors(torch.autograd.graph.saved_tensors_hooks):
    """Context that records the tensors which autograd saves for a backward pass.

    Args:
        known: tensors that exist anyway (parameters, buffers) and do not count.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        self._known = {tensor.untyped_storage() for tensor in known}
        self._saved: set[Any] = set()
        super().__init__(self._note, lambda tensor: tensor)

    def _note(self, tensor: Tensor) -> Tensor:
        self._saved.add(tensor.untyped_storage())
        return tensor

    def same(self, tensor: Tensor, twin: Tensor) -> None:
        """Count two tensors once, if both were saved: they stand for a single one."""
        if {tensor.untyped_storage(), twin.untyped_storage()} <= self._saved:
            self._known.add(tensor.untyped_storage())

    @property
    def bytes(self) -> int:
        """Bytes of saved tensors, each storage once."""
        return sum(storage.nbytes() for storage in self._saved - self._known)
