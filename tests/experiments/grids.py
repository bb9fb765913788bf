"""Benchmark files of tiny runs."""

from __future__ import annotations

UPCYCLING = """parts:
  - task: digits
    routers: [dense]
    name: start
    words:
      - &same [measure=false, trainer.enable_progress_bar=false, backbone.kwargs.embed_dim=16,
          optim.schedule=rsqrt, optim.warmup=5,
          trainer.val_check_interval=2, trainer.check_val_every_n_epoch=null]
      - trainer.max_steps=10
  - {task: digits, routers: [dense, switch], upcycles: start, words: [*same, trainer.max_steps=20]}
  - {task: digits, routers: [dense], upcycles: start,
     words: [*same, trainer.max_steps=20, tile_depth=2]}
  - {task: digits, routers: [switch], words: [*same, trainer.max_steps=20]}
"""
