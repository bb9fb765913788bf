"""Memory: how many examples fit, and how the process keeps freed memory.

CUDA's caching allocator keeps freed memory; glibc returns every block above 32 MiB to the kernel
when it is freed, and gets it back, page by page, in the next step: for 64 experts of 384 x 1536
that is 600 MiB per step, and 30 % of the layer's time. MALLOC_MMAP_MAX_=0
MALLOC_TRIM_THRESHOLD_=-1 in the environment has the same effect as `keep_freed_memory`.
"""

from __future__ import annotations

import ctypes
import sys

import psutil
import torch

SHARE = 0.5  # of free memory, for a batch
# copies of a model's output that loss and metrics hold: in float32, its softmax, what they gather
OUTPUTS = 4

# from glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the rest of the process; return whether it does.

    Without glibc, do nothing.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):  # musl
        return False
    return bool(libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1))


def examples_that_fit(
    activations: float, output: float, device: torch.device, processes: int = 1
) -> int:
    """Return the number of examples that can be evaluated at once, at least 1.

    Args:
        activations: bytes that training would keep for one example, an upper bound for evaluation,
            which frees activations as it goes.
        output: bytes of the model's output for one example.
        device: device of the evaluation.
        processes: processes that share the machine's memory, >= 1; a GPU is not shared.
    """
    if device.type == "cuda":
        free = float(torch.cuda.mem_get_info(device)[0])
    else:
        free = psutil.virtual_memory().available / processes
    return max(1, int(SHARE * free / (activations + OUTPUTS * output + 1)))
