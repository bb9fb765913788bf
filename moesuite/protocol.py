"""Protocol versions: which results may stand together. Raised by hand, by whoever changes what comes out.

One integer for the engine (here), one per router and one per task family (their class attribute `protocol`).
`tests/test_protocol.py` fails when the end states of tiny runs change and no number does. Imports no torch.
"""

from __future__ import annotations

from pydantic import Field

from moesuite.costs import Part

ENGINE = 1  # everything but routers and task families: models, surgery, dispatch, training, data order, evaluation


class Protocol(Part):
    """The versions that a run depends on.

    Attributes:
        engine, router, family: protocol versions, >= 1.
        decoder: of the router of `config.decoder`; None: there is no other.
        own: SHA-256 of the file of each class from outside the package, by the option that names it: nobody promises
            to raise a number for these.
    """

    engine: int = Field(ge=1)
    router: int = Field(ge=1)
    decoder: int | None = Field(None, ge=1)
    family: int = Field(ge=1)
    own: dict[str, str] = {}
