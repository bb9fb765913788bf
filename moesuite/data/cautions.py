"""What may go wrong with data, in words: one sentence for each, with what to type where known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from moesuite.data.figures import Lengths, Pixels
from moesuite.data.survey import Split, Survey

FEW = 100  # examples of a scored split: each moves a share by a percentage point
UNEQUAL = 10  # times more examples of the largest class than of the smallest
CUT = 0.1  # share of texts that are longer than what is kept
OFF = 0.5  # standard deviations of the mean of normalised images from 0
WIDE = 3  # times of their standard deviation from 1
SOME = 0.01  # share that is worth a sentence
HIDDEN = "-1"  # label that stands for one that is not public


def cautions(survey: Survey) -> list[str]:
    """Return the warnings on some data, a sentence each."""
    sentences = [f"training refuses this data: {problem}" for problem in survey.problems]
    if survey.unreadable:
        sentences.append(f"left out, because they cannot be read: {_names(survey.unreadable)}")
    for role, split in survey.splits.items():
        if split.size is not None:
            parts = [*_of_size(role, split), *_of_repeats(split, survey.unit)]
            parts += [*_of_labels(split), *_of_texts(split.lengths)]
            sentences += [f"{role}: {sentence}" for sentence in parts]
    return [*sentences, *_of_classes(survey), *_of_pixels(survey)]


def _names(names: Sequence[str]) -> str:
    return _some(names, 3, "; ")


def _some(names: Sequence[str], most: int, between: str = ", ") -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _of_size(role: str, split: Split) -> Iterator[str]:
    size = split.size or 0
    if size < FEW and role != "train":
        yield f"only {_count(size, 'example')}: each moves a share by {_percent(1 / max(1, size))}"
    if split.unreadable:
        yield (
            f"{len(split.unreadable):,} of {_count(split.sampled, 'example')} cannot be read: "
            f"{_names(split.unreadable)}"
        )


def _of_repeats(split: Split, unit: str) -> Iterator[str]:
    """Yield what is in train, too; headers and the like repeat in any text, and are no caution."""
    counted = split.repeats
    if counted is None:
        return
    if counted.in_train > (SOME * counted.total if unit != "examples" else 0):
        share = _percent(counted.in_train / counted.total)
        yield f"{counted.in_train:,} of {counted.total:,} {unit} ({share}) are in train, too"
    if counted.near and counted.near > counted.in_train:
        yield f"{_count(counted.near, 'example')} equal or nearly equal to some of train"
    if counted.within > SOME * counted.total and unit == "examples":
        yield f"{_count(counted.within, 'example')} equal to an earlier one of the split"


def _of_labels(split: Split) -> Iterator[str]:
    present = {name: count for name, count in split.labels.items() if count}
    if list(present) == [HIDDEN]:
        yield "all labels are -1: they are not public, so that this split cannot be scored"
    elif len(present) == 1:
        yield f"all examples have the class {next(iter(present))}"
    elif present:
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        if present[most] > UNEQUAL * present[least]:
            yield (
                f"classes are very unequal: {present[most]:,} examples of {most}, "
                f"{present[least]:,} of {least}"
            )
    if (scores := split.scores) and scores.least == scores.most:
        yield f"all scores are {scores.most:g}"


def _of_texts(texts: Lengths | None) -> Iterator[str]:
    if texts is None:
        return
    if texts.cut > CUT:
        yield (
            f"{_percent(texts.cut)} of the texts are cut at task.length={texts.limit}; 90 % have "
            f"at most {texts.tokens.ninety:,.0f} tokens"
        )
    if texts.empty:
        yield f"{texts.empty:,} of {_count(texts.texts, 'text')} empty"


def _of_classes(survey: Survey) -> Iterator[str]:
    """Yield what classes a split lacks."""
    public = {
        role: {name: count for name, count in split.labels.items() if name != HIDDEN}
        for role, split in survey.splits.items()
    }
    names = dict.fromkeys(name for each in public.values() for name in each)
    for role, counts in public.items():
        missing = [name for name in names if not counts.get(name)]
        if missing and any(counts.values()):
            classes = "class" if len(missing) == 1 else "classes"
            yield f"{role}: no example of the {classes} {_some(missing, 5)}"


def _of_pixels(survey: Survey) -> Iterator[str]:
    """Yield what is unusual of images, and compare the training images with the task."""
    for role, split in survey.splits.items():
        if (images := split.pixels) and images.constant > SOME * images.images:
            yield f"{role}: {images.constant:,} of {images.images:,} images of one colour"
    role, split = next(iter(survey.splits.items()))
    images, size = split.pixels, survey.arguments.get("img_size")
    if images is None:
        return
    # images that fill a part of their range are brightened first
    is_dark = any("task.value_range=[" in note for note in survey.notes)
    if survey.mean and not is_dark and _is_off(images, survey.mean, survey.std):
        ours, theirs = _numbers(images.mean), _numbers(images.std)
        yield (
            f"{role}: pixels have mean {ours} and std {theirs}, the task expects "
            f"{_numbers(survey.mean)} and {_numbers(survey.std)}; type task.mean={ours} "
            f"task.std={theirs}"
        )
    shorter = min(images.width.median, images.height.median)
    if isinstance(size, int) and 2 * shorter < size:
        yield f"{role}: images of {shorter:.0f} pixels are enlarged to {size}"


def _is_off(images: Pixels, mean: Sequence[float], std: Sequence[float]) -> bool:
    """Return whether normalised images are far from mean 0 and standard deviation 1."""
    channels = zip(images.mean, images.std, mean, std, strict=True)
    return any(
        abs(ours - theirs) > OFF * width or not 1 / WIDE < spread / width < WIDE
        for ours, spread, theirs, width in channels
    )


def _numbers(values: Sequence[float]) -> str:
    """Return numbers as they are typed."""
    return f"[{','.join(f'{value:.4f}' for value in values)}]"
