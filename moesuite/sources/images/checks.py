"""Folders that look like classes or splits, and are something else: refused in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from moesuite.errors import UserError
from moesuite.sources.images.folders import NO_CLASSES, Folder, inner_folder, is_split
from moesuite.sources.images.split import Part, slashed
from moesuite.sources.roles import WHOLE, option_of, options_of, role_of


def check_classes(part: Part, root: Folder, top: Folder) -> None:
    """Raise `UserError` if class folders are named like something else."""
    place = f"task.source={top.path}: {part.name or root.name}/ holds "
    if len(part.classes) > 1 and all(map(is_split, part.classes)):
        hint = "rename them if they are classes"
        if any(child.holding for folder in part.folders for child in folder.holding):
            hint = f"type for example task.source={root.path / part.name}"
        raise UserError(
            f"{place}{slashed(part.classes)}: splits in a split; expected "
            f"<split>/<class>/<image>; {hint}"
        )
    if len(part.classes) > 1 and all(name.lower() in NO_CLASSES for name in part.classes):
        raise UserError(
            f"{place}{slashed(part.classes)}, which are no classes; expected a folder for each "
            "class: <class>/<image>"
        )


def check_shared(part: Part, top: Folder) -> None:
    """Raise `UserError` if class folders hold the same folders: they are splits, folds, parts."""
    children = [child for folder in part.folders for child in folder.holding]
    below = [{folder.name for folder in inner_folder(child).holding} for child in children]
    common = set.intersection(*below) if len(below) > 1 else set()
    if len(common) < 2 or 2 * len(common) <= len(set.union(*below)) or common <= {*NO_CLASSES}:
        return
    names, inside = slashed(child.name for child in children), slashed(sorted(common))
    if part.name:
        label = min(common)
        raise UserError(
            f"task.source={top.path}: {part.name}/ holds {names}, each with {inside}: which are "
            f"the classes? expected {part.name}/<class>/<image>; move for example "
            f"{children[0].name}/{label} and {children[1].name}/{label} into {part.name}/{label}, "
            f"or the images of {children[0].name}/{label} into {children[0].name}"
        )
    held_out = {child.name: role_of(child.name) in ("val", "test") for child in children}
    train, test, *_ = sorted(children, key=lambda f: (held_out[f.name], -len(f.images), f.name))
    options = options_of({"train": train.name, "test": test.name})
    raise UserError(
        f"task.source={top.path}: {names}, each with {inside}: splits, folds or classes? if they "
        f"are splits, type for example {options}; if they are classes, type "
        f"{option_of('train', WHOLE)}"
    )


def check_lists(parts: Sequence[Part]) -> None:
    """Raise `UserError` if one line of a list labels images of two splits."""
    for one, other in combinations(parts, 2):
        if one.labels is None or other.labels is None or one.labels.file != other.labels.file:
            continue
        if common := sorted({*one.labels.names} & {*other.labels.names}):
            raise UserError(
                f"{one.labels.file}: images of {one.name}/ and {other.name}/ have the same names "
                f"({', '.join(common[:3])}); expected a list for each split, for example "
                f"{one.name}.csv and {other.name}.csv"
            )
