"""Statistics of routers stay in float32: half precision counts to 256 and loses steps of 0.001."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

FLOAT32 = 4  # bytes


class ExactStatistics(nn.Module):
    """A module whose floating-point buffers stay in float32 when it is cast to half precision."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        self.keep_exact(before)
        return self

    def keep_exact(self, before: Mapping[str, Tensor] | None = None) -> None:
        """Turn buffers in half precision into float32, with the values of those `before` a cast."""
        for name, buffer in self.named_buffers():
            if buffer.is_floating_point() and buffer.itemsize < FLOAT32:
                exact = (before or {}).get(name, buffer).to(buffer.device).float()
                host, _, last = name.rpartition(".")
                setattr(self.get_submodule(host), last, exact)
