"""Folders as they lie on disk, read once, and which of their files are images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

from moesuite.sources.layout import Above, entries_of
from moesuite.sources.roles import WORDS

# pictures to their owner, though Pillow may not open them
LOOK_ALIKE = (
    ".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".webp", ".tif", ".tiff",
    ".svg", ".eps", ".exr", ".hdr", ".dcm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf",
    ".rw2", ".raf",
)  # fmt: skip
# formats that Pillow recognises but decodes not at all, or with a program of others only
NOT_DECODED = ("EPS", "MPEG")
# folders of segmentation and detection
NO_CLASSES = (
    "images", "image", "img", "imgs", "jpegimages", "masks", "mask", "labels", "annotations",
    "segmentation", "segmentationclass", "segmentationobject", "depth", "bounding_boxes",
)  # fmt: skip
PICTURES = NO_CLASSES[:5]
SPLITS = frozenset(chain(*WORDS.values()))


@cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes of the formats that Pillow can decode on this machine, lower-case."""
    from PIL import Image, ImageFile, features

    suffixes = Image.registered_extensions()  # imports all plugins
    without = {*NOT_DECODED, *(() if features.check("jpg_2000") else ("JPEG2000",))}
    for name, (factory, _) in Image.OPEN.items():
        if isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile):
            without.add(name)  # recognised, for a plugin of others to decode
    decoded = Image.OPEN.keys() - without | {"MPO"}  # several JPEGs in one, opened as JPEG
    return frozenset(suffix.lower() for suffix, name in suffixes.items() if name in decoded)


def is_image(name: str) -> bool:
    """Whether Pillow can decode files of this name."""
    return f".{name.rpartition('.')[2]}".lower() in image_suffixes()


@dataclass(frozen=True)
class Folder:
    """A folder, without what is hidden.

    Attributes:
        path: of the folder.
        files: names of its files, sorted.
        folders: the folders in it, sorted by name.
    """

    path: Path
    files: tuple[str, ...] = ()
    folders: tuple[Folder, ...] = ()

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.path.name

    @cached_property
    def loose(self) -> list[Path]:
        """Paths of the images in the folder itself."""
        return [self.path / name for name in self.files if is_image(name)]

    @cached_property
    def images(self) -> list[Path]:
        """Paths of all images below, in the order of torchvision's `ImageFolder`."""
        return [file for folder in self.walk() for file in folder.loose]

    @cached_property
    def holding(self) -> tuple[Folder, ...]:
        """The folders in it that hold images."""
        return tuple(folder for folder in self.folders if folder.holds_images)

    @cached_property
    def holds_images(self) -> bool:
        """Whether there are images in it or below."""
        return bool(self.loose) or any(folder.holds_images for folder in self.folders)

    def walk(self) -> list[Folder]:
        """Return this folder and all below, sorted by path."""
        return sorted(self._below(), key=lambda folder: str(folder.path))

    def others(self) -> list[Path]:
        """Return the paths of the files below that are no images."""
        return [
            folder.path / name
            for folder in self.walk()
            for name in folder.files
            if not is_image(name)
        ]

    def _below(self) -> Iterator[Folder]:
        yield self
        for folder in self.folders:
            yield from folder._below()


def read_folder(path: Path) -> Folder:
    """Read a folder and all below; see `entries_of`."""
    return _read(path, ())


def _read(path: Path, above: Above) -> Folder:
    files, folders, above = entries_of(path, above)
    below = (_read(path / name, above) for name in folders)
    return Folder(path, tuple(files), tuple(below))


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


def class_images(folder: Folder) -> list[Path]:
    """Return the images of a class folder: of `images/` only, where `masks/` is beside it."""
    names = [child.name.lower() for child in folder.holding]
    pictures = [child for child in folder.holding if child.name.lower() in PICTURES]
    annotated = len(names) > 1 and not folder.loose and {*names} <= {*NO_CLASSES}
    return pictures[0].images if annotated and len(pictures) == 1 else folder.images
