"""How a source of data is read for a task, shown without training; `python -m moesuite.data`."""
