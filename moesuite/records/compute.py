"""Costs of a run, and the start of an upcycled one, as its record states them. No torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Base of all sections of records: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class Split(StrictModel):
    """Floating-point operations of one forward pass of one example, 2 per multiply-add."""

    backbone: float
    router: float
    dispatch_combine: float
    experts: float
    padding: float

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.backbone + self.router + self.dispatch_combine + self.experts + self.padding

    def __add__(self, other: Split) -> Split:
        return Split(**{part: value + getattr(other, part) for part, value in self})

    def over(self, count: int) -> Split:
        """Return every part divided by `count`."""
        return Split(**{part: value / count for part, value in self})


class Timing(StrictModel):
    """Seconds of a repeated measurement, interleaved with the matched dense model.

    Attributes:
        median, iqr: of `n` repeats, an odd number.
        quartiles: the first and the third.
        ratio_to_dense: median over the repeats of the ratio to the dense model's seconds.
        dense_median, dense_quartiles: of the dense model. With an odd `n`, the ratio is never below
            the first quartile over the dense model's third, nor above the third over its first.
    """

    median: float
    iqr: float
    n: int
    ratio_to_dense: float
    dense_median: float
    quartiles: tuple[float, float] | None = None
    dense_quartiles: tuple[float, float] | None = None


class LayerCompute(StrictModel):
    """Cost of one MoE layer in the forward pass of one example."""

    layer: str
    activated: Split
    executed: Split
    slots_per_token: float
    parameters_total: int
    parameters_active: int


class Compute(StrictModel):
    """Costs of a run. FLOPs are per example, timings per batch.

    Attributes:
        activated, executed: forward pass in evaluation, with the routing of test examples after
            training.
        expected: the same as `executed`, from the budget alone, before training.
        training: executed in forward and backward, as expected before training.
        training_step_flops: of an optimizer step.
        layers: share of each MoE layer in the forward pass.
        slots_per_token_asked: budget of the routed experts.
        slots_per_token_effective: expert work per token relative to the dense MLP, that of shared
            experts included, which adds 1 for each.
        uncounted: "module: operation" of everything without a formula; FLOPs are then a lower
            bound.
        activation_bytes: kept by a training step for its backward pass, per example.
        latency, training_step: seconds of a batch of `batch_size`; None if not measured.
        step_peak_bytes, dense_step_peak_bytes: peak of a measured training step beyond weights
            and optimizer.
        peak_memory_bytes: of the process in training (GPU: allocated).
    """

    activated: Split
    executed: Split
    expected: Split
    training: Split
    training_step_flops: float
    layers: list[LayerCompute] = []
    uncounted: list[str] = []
    parameters_total: int
    parameters_active: int
    activation_bytes: float
    slots_per_token_asked: float
    slots_per_token_effective: float
    latency: Timing | None
    training_step: Timing | None
    step_peak_bytes: int | None = None
    dense_step_peak_bytes: int | None = None
    threads: int
    batch_size: int
    peak_memory_bytes: int
    device: str

    @property
    def latency_per_sample(self) -> float | None:
        """Seconds of inference per example."""
        return None if self.latency is None else self.latency.median / self.batch_size

    @property
    def throughput(self) -> float | None:
        """Examples per second in training."""
        return None if self.training_step is None else self.batch_size / self.training_step.median


class Energy(StrictModel):
    """Estimated energy of training in kWh, of the whole machine; never measured at the plug."""

    kwh: float
    cpu_kwh: float
    gpu_kwh: float
    memory_kwh: float
    estimated_by: str


class Sunk(StrictModel):
    """Sunk cost of the upcycled dense run: part of the record's steps, seconds and FLOPs."""

    checkpoint: str
    content: str
    steps: int
    seconds: float
    flops: float


class UpcycledLayer(StrictModel):
    """One upcycled MoE layer against the MLP it replaces, in evaluation, before training.

    Attributes:
        layer: name of the module.
        difference: largest absolute difference of an output, over all real tokens.
        served_difference: the same over tokens that an expert serves.
        scale: largest absolute output of the MLP.
        unserved: share of the real tokens that no expert serves, in [0, 1].
        weights, experts: mean sum of a served token's combine weights, and most experts of one;
            None: not measured.
        null_share: share of the pairs that null experts got, in [0, 1].
    """

    layer: str
    difference: float
    served_difference: float
    scale: float
    unserved: float
    weights: float | None = None
    experts: int | None = None
    null_share: float = 0.0
