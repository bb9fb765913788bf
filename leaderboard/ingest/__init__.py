"""Files -> entries: stores, intake, selection, what records must agree on."""
