"""Metrics of the task families: direction, range, meaning, equivalence margin. No torch.

Families declare their metrics by this table, and the leaderboard checks records against it. A
family outside the package declares its own (`Task.primary`, `Task.specs`); its records carry them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict

from moesuite.records.compute import StrictModel

Direction = Literal["max", "min"]


class MetricSpec(StrictModel):
    """One metric.

    Attributes:
        name: in records and on boards.
        direction: "max" if larger is better, else "min".
        least, most: smallest and largest possible value; None if unbounded.
        meaning: what is measured, for the reader.
        margin: equivalence margin, > 0: the largest difference that counts as none, fixed
            beforehand; None without such a convention.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    name: str
    direction: Direction
    least: float | None = None
    most: float | None = None
    meaning: str = ""
    margin: float | None = None

    def admits(self, value: float) -> bool:
        """Return whether a value is in range, up to rounding."""
        slack = 1e-6
        above = self.least is None or value >= self.least - slack
        return above and (self.most is None or value <= self.most + slack)

    @property
    def range(self) -> str:
        """Range in words."""
        if self.least is None and self.most is None:
            return "any finite number"
        if self.most is None:
            return f"{self.least:g} or more"
        return (
            f"{self.most:g} or less" if self.least is None else f"{self.least:g} to {self.most:g}"
        )


# one percentage point, or a hundredth of a correlation: the margin of all shares and correlations
POINT = 0.01


def _share(name: str, meaning: str, direction: Direction = "max") -> MetricSpec:
    return MetricSpec(
        name=name, direction=direction, least=0, most=1, meaning=meaning, margin=POINT
    )


def _amount(
    name: str, meaning: str, direction: Direction = "min", margin: float | None = None
) -> MetricSpec:
    return MetricSpec(name=name, direction=direction, least=0, meaning=meaning, margin=margin)


def _correlation(name: str, meaning: str) -> MetricSpec:
    return MetricSpec(name=name, direction="max", least=-1, most=1, meaning=meaning, margin=POINT)


def _table(*specs: MetricSpec) -> dict[str, MetricSpec]:
    return {spec.name: spec for spec in specs}


VISION = _table(
    _share("top1", "share of images whose class is the most likely one"),
    _share("top5", "share of images whose class is among the five most likely"),
    _share("calibration_error", "expected calibration error, 15 bins", "min"),
    _share("linear", "accuracy of a linear probe of frozen features"),
    _share("ten_shot", "accuracy of a probe fitted on ten images of each class"),
    _share("fgsm", "accuracy under the fast gradient sign attack"),
    _share("pgd", "accuracy under projected gradient descent"),
)
LANGUAGE = _table(
    _amount("bits_per_byte", "cross-entropy of text by byte", margin=POINT),
    MetricSpec(
        name="perplexity",
        direction="min",
        least=1,
        meaning="exponential of the cross-entropy by token",
    ),
)
EMBEDDINGS = _table(
    _share("ndcg@10", "normalised discounted cumulative gain of the first ten"),
    _share("mrr", "mean reciprocal rank of the answer"),
    _share("recall@1", "share of queries whose answer comes first"),
    _share("recall@10", "share of queries whose answer is among the first ten"),
    _correlation("spearman", "rank correlation of cosine and score, mean over data sets"),
    _share("accuracy", "accuracy of a linear probe, mean over data sets"),
    _correlation("main_score", "mean of the main scores of mteb's tasks"),
)
UNDERSTANDING = _table(
    _correlation("score", "mean of a set's official metrics"),
    _share("accuracy", "share of right answers"),
    _share("accuracy_mismatched", "share of right answers on the mismatched part"),
    _share("f1", "F1 of the positive class"),
    _share("f1_macro", "F1, mean over classes"),
    _correlation("matthews", "Matthews correlation"),
    _correlation("pearson", "linear correlation"),
    _correlation("spearman", "rank correlation"),
    _share("exact_match", "share of questions with every answer judged rightly"),
    _share("token_f1", "F1 of the words of the answer"),
    _share("token_exact_match", "share of answers that are accepted word by word"),
)
OPPONENTS = ("random", "pubeval", "gnubg")  # of backgammon
PREFERENCES = _table(
    _share("top1", "share of choices where the network's is the expert's"),
    _share("pairs", "share of pairs that are ordered as the expert orders them"),
    _amount("score_loss", "expert's score lost by the network's choice"),
    _share("intransitive", "share of triples that form a cycle", "min"),
    _share("order_dependent", "share of pairs whose answer changes with their order", "min"),
    *(
        MetricSpec(
            name=f"points_{name}",
            direction="max",
            least=-3,
            most=3,
            meaning=f"points a game against {name}",
        )
        for name in OPPONENTS
    ),
    *(_amount(f"points_{name}_half", "half of the 95 % interval of points") for name in OPPONENTS),
)
BEYOND = "squared error beyond the optimum's, relative to that of an output of 0"
PLACES = {"": "clusters", "_first": "first functions", "_second": "second functions"}
DIAGNOSTICS = _table(
    *(
        _amount(name, f"{BEYOND}{what}", margin=POINT)
        for name, what in {
            "excess_loss": "",
            "excess_before": ", on the mixture of training",
            "excess_seen": ", on pairs of functions that were seen",
        }.items()
    ),
    _share("stored", "share of the information in the facts that is stored"),
    _amount("stored_bits", "information about facts, in bits", "max"),
    _share("recalled", "share of facts whose value is the most likely one"),
    _share("accuracy", "share of questions answered rightly"),
    _amount(
        "stolen_bits", "bits for each symbol by which predictions beat its entropy", margin=POINT
    ),
    _amount("stolen_bits_half", "half of the 95 % interval of stolen bits"),
    *(
        _share(f"nmi{place}", f"mutual information of experts and {what}, normalised")
        for place, what in PLACES.items()
    ),
    *(
        MetricSpec(
            name=f"ari{place}",
            direction="max",
            least=-0.5,
            most=1,
            meaning=f"agreement of experts and {what}, adjusted Rand index",
            margin=POINT,
        )
        for place, what in PLACES.items()
    ),
    _share("needles_served", "share of decisive tokens that an expert serves"),
    _share("needle_work", "share of what experts read that is of decisive tokens"),
    _share("unserved", "share of tokens that no expert serves", "min"),
    _share("unserved_before", "the same on the mixture of training", "min"),
)
OF_WORLD = {
    **dict.fromkeys(("planted", "drift", "needles", "composition"), "excess_loss"),
    "memory": "stored",
    "paths": "accuracy",
    "future": "stolen_bits",
}
FAMILIES: Mapping[str, Mapping[str, MetricSpec]] = {
    "vision": VISION,
    "language": LANGUAGE,
    "embeddings": EMBEDDINGS,
    "understanding": UNDERSTANDING,
    "preferences": PREFERENCES,
    "diagnostics": DIAGNOSTICS,
}
OF_KIND = {
    "search": "ndcg@10",
    "similarity": "spearman",
    "classification": "accuracy",
    "mteb": "main_score",
}


def primary_name(family: str, options: Mapping[str, Any]) -> str | None:
    """Return the metric that ranks a task, or None for a family outside the package.

    Args:
        family: of the task.
        options: of the task, as its `__init__` takes them; defaults may be missing.
    """
    if family in ("vision", "preferences"):
        return "top1"
    if family == "language":
        causal = options.get("objective", "causal") == "causal"
        return str(options.get("metric", "bits_per_byte")) if causal else "perplexity"
    if family == "embeddings":
        return OF_KIND[options.get("kind", "search")]
    if family == "diagnostics":
        return OF_WORLD[options.get("kind", "planted")]
    if family == "understanding":
        metrics = options["sets"][options.get("subset", "rte")]["metrics"]
        return str(metrics[0]) if len(metrics) == 1 else "score"
    return None


def known_spec(family: str, options: Mapping[str, Any], metric: str) -> MetricSpec | None:
    """Return the package's declaration of a metric, or None.

    Embeddings are also scored on each of several data sets, under its name, by the metric that
    ranks, and texts on each of several domains, under `bits_per_byte/<domain>`.
    """
    table = FAMILIES.get(family, {})
    if family == "language":
        ranking = table[str(primary_name(family, options))]
        return table.get(metric) or of_domain(ranking, metric)
    if metric not in table and family == "embeddings":
        return table[OF_KIND[options.get("kind", "search")]].model_copy(update={"name": metric})
    return table.get(metric)


def of_domain(ranking: MetricSpec, metric: str) -> MetricSpec | None:
    """Return the declaration of the score of a domain, `<metric that ranks>/<domain>`, or None."""
    name, _, domain = metric.partition("/")
    return ranking.model_copy(update={"name": metric}) if domain and name == ranking.name else None
