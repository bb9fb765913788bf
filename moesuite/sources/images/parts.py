"""The splits of an image tree as they lie in their folders, and the classes of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path

from moesuite.errors import UserError
from moesuite.sources.images.folders import Folder
from moesuite.sources.images.lists import Labels, find_labels
from moesuite.sources.layout import WORDS, role_of

# folders of segmentation and detection
NO_CLASSES = (
    "images", "image", "img", "imgs", "jpegimages", "masks", "mask", "labels", "annotations",
    "segmentation", "segmentationclass", "segmentationobject", "depth", "bounding_boxes",
)  # fmt: skip
SPLITS = frozenset(chain(*WORDS.values()))


@dataclass(frozen=True)
class Part:
    """A split as it lies on disk.

    Attributes:
        name: of its folder; empty: the whole source.
        classes: images of each class, in the order of torchvision's `ImageFolder`.
        loose: images without a class.
        folders: that it was read from.
        labels: from a list; None: from class folders.
    """

    name: str
    classes: Mapping[str, list[Path]]
    loose: Sequence[Path]
    folders: Sequence[Folder]
    labels: Labels | None = None

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(map(len, self.classes.values())) + len(self.loose)


def is_split(name: str, declared: Iterable[str] = ()) -> bool:
    """Whether a folder is named like a split and nothing else."""
    return name.lower() in SPLITS or name.lower() in {word.lower() for word in declared}


def inner_folder(folder: Folder) -> Folder:
    """Return the folder that splits or classes lie in: below folders that hold nothing else."""
    if len(folder.holding) != 1:
        return folder
    (child,) = folder.holding
    deep = inner_folder(child)
    if any(is_split(below.name) for below in deep.holding):
        return deep
    if folder.loose or deep.loose or len(deep.holding) < 2:  # one class
        return folder
    # train/ is no wrapping, train/train/ is
    return folder if is_split(child.name) and not is_split(folder.name) else deep


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
    named = _split_folders(root, declared)
    parts = [_part(folder, folder.name) for folder in named]
    parts = parts or _crossed(root) or [_part(root, "")]
    for part in parts:
        _check_classes(part, root, top)
    training = {"", declared.get("train", "train")}
    known = {
        name
        for part in parts
        if part.name in training or role_of(part.name) == "train"
        for name in part.classes
    }
    parts = [_with_labels(part, known, top) for part in parts]
    _check_lists(parts)
    spare = [folder for folder in root.holding if named and folder not in named]
    return parts, spare


def _check_classes(part: Part, root: Folder, top: Folder) -> None:
    """Raise `UserError` if class folders are named like something else."""
    place = f"task.source={top.path}: {part.name or root.name}/ holds "
    if len(inside := [name for name in part.classes if is_split(name)]) > 1:
        raise UserError(
            f"{place}{slashed(inside)}: splits in a split; expected <split>/<class>/<image>; type "
            f"for example task.source={root.path / part.name}"
        )
    if len(part.classes) > 1 and all(name.lower() in NO_CLASSES for name in part.classes):
        raise UserError(
            f"{place}{slashed(part.classes)}, which are no classes; expected a folder for each "
            "class: <class>/<image>"
        )


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
    classes = {child.name: child.images for child in inner.holding}
    return Part(name, classes, inner.loose, [inner])


def _with_labels(part: Part, known: set[str], top: Folder) -> Part:
    """Read the labels of images that are in no class folders from a list, if there is one."""
    images = list(part.loose)
    if part.classes:
        lone = next(iter(part.classes))
        if len(part.classes) > 1 or (lone in known and len(known) > 1):
            return part
        images += part.classes[lone]  # val/images/ is no class if train/ has others
    labels = find_labels(images, top, role_of(part.name))
    if labels is None:
        return part if known.issuperset(part.classes) else replace(part, classes={}, loose=images)
    classes: dict[str, list[Path]] = {name: [] for name in sorted(set(labels.of_images))}
    for name, image in zip(labels.of_images, images, strict=True):
        classes[name].append(image)
    return replace(part, classes=classes, loose=[], labels=labels)


def _check_lists(parts: Sequence[Part]) -> None:
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


def slashed(names: Iterable[str]) -> str:
    """Return names of folders, the first few."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"{name}/" for name in names[:3]) + more
