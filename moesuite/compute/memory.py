"""Memory: how many examples it holds, and how the process keeps what it has.

CUDA's caching allocator keeps freed memory; glibc returns every block above 32 MiB to the kernel
when it is freed, and takes it back, page by page, when the next step asks for it: for 64 experts of
384 x 1536 that is 600 MiB per step, and 30 % of the layer's time. The same can be had without
`keep_freed_memory` by MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1 in the environment.
"""

from __future__ import annotations

import ctypes
import sys

import psutil
import torch

SHARE = 0.5  # of what is free, for a batch
# copies of a model's output that a loss and metrics hold: in float32, its softmax, what they gather
OUTPUTS = 4

# of glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed, for the rest of the process; return whether it does (elsewhere: nothing)."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # musl
        return False
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1))


def examples_that_fit(kept: float, output: float, device: torch.device, processes: int = 1) -> int:
    """Return how many examples can be evaluated at once; at least 1.

    Args:
        kept: bytes that training would keep for one example: more than evaluation holds, which
            frees as it goes.
        output: bytes of the model's output for one example.
        device: that evaluates.
        processes: that share the machine's memory, >= 1; a GPU is not shared.
    """
    if device.type == "cuda":
        free = float(torch.cuda.mem_get_info(device)[0])
    else:
        free = psutil.virtual_memory().available / processes
    return max(1, int(SHARE * free / (kept + OUTPUTS * output + 1)))
