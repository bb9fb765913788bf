"""Run records -> pages. A pure function of the records; imports no torch."""
