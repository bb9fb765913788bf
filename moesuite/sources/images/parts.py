"""The splits of an image tree as they lie in their folders, and the classes of each."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from moesuite.errors import UserError
from moesuite.sources.images.checks import check_classes, check_lists, check_shared
from moesuite.sources.images.folders import Folder, class_images, inner_folder, is_split
from moesuite.sources.images.labelled import labelled
from moesuite.sources.images.split import Part, slashed
from moesuite.sources.roles import WHOLE, role_of


def find_parts(
    root: Folder, top: Folder, declared: Mapping[str, str]
) -> tuple[list[Part], list[Folder]]:
    """Return the splits in a folder, and the folders that are none.

    Args:
        root: folder that splits or classes lie in.
        top: the source.
        declared: name of each role's split.

    Raises:
        UserError: for folders of which it cannot be told whether they are splits or classes.
    """
    if whole := WHOLE in declared.values():
        named, parts = list[Folder](), [_part(root, "")]
    else:
        named = _split_folders(root, declared)
        parts = [_part(folder, folder.name) for folder in named]
        parts = parts or _crossed(root) or [_part(root, "")]
        for part in parts:
            check_classes(part, root, top)
    training = {"", declared.get("train", "train")}
    known = {
        name
        for part in parts
        if part.name in training or role_of(part.name) == "train"
        for name in part.classes
    }
    parts = [*chain(*(labelled(part, known, top, declared) for part in parts))]
    check_lists(parts)
    for part in parts:
        if not whole and part.labels is None:
            check_shared(part, top)
    spare = [folder for folder in root.holding if named and folder not in named]
    return parts, spare


def _split_folders(root: Folder, declared: Mapping[str, str]) -> list[Folder]:
    """Return the folders that are splits: by their whole names, else by a word in them."""
    exact = [folder for folder in root.holding if is_split(folder.name, declared.values())]
    others = [folder for folder in root.holding if folder not in exact]
    roles = {role_of(folder.name) for folder in exact}
    if roles == {"train"} and not exact[0].holding and others and all(f.loose for f in others):
        return []  # a class of trains
    worded = [folder for folder in others if role_of(folder.name) not in (None, *roles)]
    if exact:
        return [*exact, *worded]
    only, several = worded == others, len({role_of(folder.name) for folder in worded}) > 1
    has_classes = any(f.holding for f in worded if role_of(f.name) == "train")
    # two of three speak for splits; bullet_train, test_tube and cup are classes
    return worded if only + several + has_classes > 1 else []


def _crossed(root: Folder) -> list[Part]:
    """Return the splits of <class>/<split>/<image>; nothing for other trees."""
    crossed = [
        folder
        for folder in root.holding
        if folder.holding and not folder.loose and all(is_split(f.name) for f in folder.holding)
    ]
    if not crossed:
        return []
    inside = sorted({folder.name for folder in chain(*(f.holding for f in crossed))})
    if len(crossed) < len(root.holding):
        if len(inside) == 1:
            return []  # one folder more below a class
        others = (folder.name for folder in root.holding if folder not in crossed)
        raise UserError(
            f"task.source={root.path}: {crossed[0].name}/ holds {slashed(inside)}, "
            f"{slashed(others)} does not; expected <split>/<class>/<image>, or "
            "<class>/<split>/<image> for every class"
        )
    if any(split.holding for folder in crossed for split in folder.holding):
        raise UserError(
            f"task.source={root.path}: {len(crossed)} data sets in one folder: "
            f"{slashed(f.name for f in crossed)}; expected one; type for example "
            f"task.source={crossed[0].path}"
        )
    parts = []
    for name in inside:
        pairs = [(f.name, below) for f in crossed for below in f.holding if below.name == name]
        classes = {label: below.images for label, below in pairs}
        parts.append(Part(name, classes, [], [below for _, below in pairs]))
    return parts


def _part(folder: Folder, name: str) -> Part:
    inner = inner_folder(folder)
    classes = {child.name: class_images(child) for child in inner.holding}
    read = set(chain(*classes.values()))
    masks = [image for child in inner.holding for image in child.images if image not in read]
    return Part(name, classes, [*inner.loose, *masks], [inner])
