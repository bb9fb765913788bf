"""Energy of training, estimated by codecarbon: from counters, else from rated power and load."""

from __future__ import annotations

import importlib.util
from typing import Any

from moesuite.errors import UserError
from moesuite.records.compute import Energy


class Meter:
    """Energy that the machine uses while the meter runs, other processes included.

    Args:
        wanted: False for a meter that does nothing.

    Attributes:
        energy: the estimate, after the meter ran; None if not wanted.

    Raises:
        UserError: if wanted and codecarbon is not installed.
    """

    def __init__(self, wanted: bool) -> None:
        self.energy: Energy | None = None
        self._wanted = wanted
        self._tracker: Any = None
        if wanted and importlib.util.find_spec("codecarbon") is None:
            raise UserError(
                "energy=true needs codecarbon; type pip install 'moesuite[energy]', or leave "
                "energy=true out"
            )

    def __enter__(self) -> Meter:
        if self._wanted:
            from codecarbon import OfflineEmissionsTracker

            # the country affects only emissions, which are not recorded
            self._tracker = OfflineEmissionsTracker(
                country_iso_code="USA",
                save_to_file=False,
                log_level="critical",
                allow_multiple_runs=True,
            )
            self._tracker.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._tracker is None:
            return
        self._tracker.stop()
        estimate = self._tracker.final_emissions_data
        self.energy = Energy(
            kwh=estimate.energy_consumed,
            cpu_kwh=estimate.cpu_energy,
            gpu_kwh=estimate.gpu_energy,
            memory_kwh=estimate.ram_energy,
            estimated_by=f"codecarbon {estimate.codecarbon_version}, {estimate.tracking_mode}",
        )
