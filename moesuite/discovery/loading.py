"""Names -> classes, imported: of the package, of a plugin, or a user's own."""

from __future__ import annotations

import importlib
from typing import Any

from moesuite.discovery.names import (
    contract_class,
    family_class,
    packaged,
    plugin_refusal,
    source_of,
    task_families,
)
from moesuite.discovery.plugins import plugins
from moesuite.discovery.user_code import own_class
from moesuite.errors import UserError, unknown


def load_router(name: str) -> Any:
    """Import the class of a router: of the package, of a plugin, or a user's own.

    Raises:
        UserError: for an unknown name, or a plugin that cannot be imported.
    """
    path, cls = source_of(name)
    if ":" in name:
        return own_class("router", name, "my_file:MyRouter")
    if cls is not None:
        return plugins("routers")[name].load()
    return getattr(
        importlib.import_module(f"moesuite.routers.{path.stem}"),
        contract_class(path, "Router").name,
    )


def load_family(family: str) -> Any:
    """Import the class of a task family: of the package, of a plugin, or `module:Class`.

    Raises:
        UserError: for an unknown name, a module that cannot be imported, or a class it lacks.
    """
    if ":" in family:
        module_name, _, cls = family.rpartition(":")
        try:
            return getattr(importlib.import_module(module_name), cls)
        except Exception as error:  # whatever the module of a user does
            raise UserError(
                f"task.family={family}: {type(error).__name__}: {error}; expected module.path:Class"
                " on PYTHONPATH; type for example task.family=my_module:MyTask"
            ) from error
    if family not in task_families():
        if refused := plugin_refusal("tasks", family):
            raise refused
        raise unknown("task family", family, task_families(), "task.family=vision")
    if not packaged("tasks", family):
        return plugins("tasks")[family].load()
    module = importlib.import_module(f"moesuite.tasks.{family}.task")
    return getattr(module, family_class(family)[1])
