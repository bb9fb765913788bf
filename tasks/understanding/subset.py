"""Declaration of a set of a benchmark."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from moesuite.tasks.understanding.answers import Metric


class Subset(BaseModel, extra="forbid"):
    """One set of a benchmark, as declared in its YAML.

    Attributes:
        texts: columns of text, a long one last: prompts are cut at their end.
        labels: names of the classes by number.
        metrics: official metrics; one ranks by itself, several by their mean.
        form: format of a row: pair (texts and a label), score (a number of 0 to 5), or a set's
            own.
        test: splits to evaluate; the labels of those that are named test are not public.
    """

    texts: list[str] = Field(default_factory=list)
    labels: list[str] = Field(default_factory=list)
    metrics: list[Metric]
    form: Literal["pair", "score", "copa", "multirc", "record", "wsc"] = "pair"
    test: list[str] = Field(default_factory=lambda: ["validation"])

    @property
    def is_choice(self) -> bool:
        """Whether alternatives are scored one by one."""
        return self.form in ("copa", "record")

    @property
    def classes(self) -> int:
        """Number of outputs of a head."""
        return 1 if self.form == "score" or self.is_choice else len(self.labels)
