"""Options that task families share, grouped; on the command line and in records they stand flat.

A family lists a group among its parameters, `about: About = About()`, and each field is an option:
`task.licence=…`. See `moesuite.discovery.signature`; the group of sources is
`moesuite.task.HubSource`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge


@dataclass(frozen=True)
class Tokens:
    """How text becomes sequences of tokens.

    Attributes:
        tokenizer: byte, character, word, bpe, or a folder or hub id of a tokenizer.
        length: tokens that are kept of a text, >= 8.
    """

    tokenizer: str = "byte"
    length: Annotated[int, Ge(8)] = 256


@dataclass(frozen=True)
class About:
    """What a reader wants to know of a data set.

    Attributes:
        licence: terms of the data, for the reader.
        size: number of examples or bytes of the data, for the reader.
        ceiling: what is published to keep models from the best value of the metric, for the reader.
    """

    licence: str = ""
    size: str = ""
    ceiling: str = ""
