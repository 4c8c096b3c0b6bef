"""load(argument) -> DataSet: find the source, check it, and set validation and test images apart."""

from __future__ import annotations

import hashlib
import os
import statistics
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnets.data.catalog import DATASETS
from resnets.data.dataset import DataSet, Images, Split
from resnets.data.decode import UnreadableImageError, look
from resnets.data.files import Files, Names
from resnets.data.published import read_named, read_tfds
from resnets.data.sources import Source, read_path
from resnets.data.spec import DataSpec
from resnets.errors import DataError, UsageError, unknown


def load_unsplit(argument: str) -> DataSet:
    """Read a data set with the splits that lie in its source and no others, for a check of what is there.

    Raises:
        DataError: It is not there or cannot be used; the message says why.
    """
    return load(argument, spec=replace(DATASETS.get(locate(argument), DataSpec()), validation=0, test=0))


def load(argument: str, *, seed: int = 0, spec: DataSpec | None = None) -> DataSet:
    """Read a data set and split it.

    Args:
        argument: A folder, a .csv manifest, an .npz file, a name of the catalogue, or "tfds:NAME".
        seed: Decides which images are set apart for validation and test.
        spec: The shares to set apart; the catalogue's by default.

    Raises:
        DataError: It is not there or cannot be used; the message says why.
    """
    argument = locate(argument)
    spec = spec or DATASETS.get(argument, DataSpec())
    source = _read(argument, spec)
    _check_classes(argument, source)
    if few := _too_few(source.classes, source.splits, spec):
        raise DataError(few)
    splits = _with_splits(source, spec, seed)
    side, channels = _measure(splits["train"])
    return DataSet(_name(argument), source.classes, splits, spec.flip, channels, side, source.notes)


def _name(argument: str) -> str:
    if argument in DATASETS:
        return argument
    path = Path(argument.removeprefix("tfds:")).expanduser().resolve()
    return path.name if path.is_dir() else path.stem


def locate(argument: str) -> str:
    """Return the absolute path of a folder or file, or the name as it is: of the catalogue, or "tfds:NAME".

    A folder goes before a data set of the same name, and that before a file.
    """
    path = Path(argument).expanduser()
    try:
        there = path.exists() and (argument not in DATASETS or path.is_dir())
    except OSError:  # a name longer than a path may be
        there = False
    return str(path.resolve()) if there else argument


def _read(argument: str, spec: DataSpec) -> Source:
    """Read what :func:`locate` found."""
    if Path(argument).is_absolute() and Path(argument).exists():
        return read_path(Path(argument))
    if argument in DATASETS:
        return read_named(argument, spec.classes)
    if argument.startswith("tfds:"):
        return read_tfds(argument.removeprefix("tfds:"))
    hint = str(unknown("folder, file or data set", argument, DATASETS))
    raise DataError(hint)


def _check_shapes(argument: str, source: Source) -> None:
    shapes = {part.images.shape[1:] for part in source.splits.values() if isinstance(part.images, np.ndarray)}
    if len(shapes) > 1:
        raise DataError(f"{argument} has images of different shapes in its splits: {sorted(shapes)}.")


def _check_names(argument: str, source: Source) -> None:
    """Refuse file names that are no text, such as those of an archive made under another encoding."""
    packed = [part.ids for part in source.splits.values() if isinstance(part.ids, Names) and part.ids.encodes()]
    others = (part.ids for part in source.splits.values() if not any(part.ids is ids for ids in packed))
    for name in (*source.classes, *(i for ids in others for i in ids)):
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(
                f"{argument} has a file name that is not UTF-8: {os.fsencode(name)!r}; rename such files, for example "
                "by: convmv -r -f gbk -t utf-8 --notest FOLDER."
            ) from None


def _check_classes(argument: str, source: Source) -> None:
    if "train" not in source.splits:
        raise DataError(f"{argument} has no training images; it has {', '.join(source.splits) or 'nothing'}.")
    _check_shapes(argument, source)
    _check_names(argument, source)
    if len(set(source.classes)) < len(source.classes):
        raise DataError(f"{argument} has two classes of one name; each needs its own.")
    if len(source.classes) < 2:
        raise DataError(
            f"{argument} has one class only ({source.classes[0]!r}); a classifier needs at least two class folders."
        )
    if broken := [name for name in source.classes if not name.isprintable()]:
        raise DataError(f"The class name {broken[0]!r} holds a line break or another unprintable sign; rename it.")
    for name, split in source.splits.items():
        counts = np.bincount(split.labels, minlength=len(source.classes))
        if (counts == 0).any():
            absent = source.classes[int(np.argmin(counts))]
            raise DataError(f"The class {absent!r} has no images in {name}; add some, or remove the class everywhere.")


def check_enough(argument: str, data: DataSet) -> str:
    """Return what would keep the data of :func:`load_unsplit` from being split for a training, or ""."""
    return _too_few(data.classes, data.splits, DATASETS.get(locate(argument), DataSpec()))


def _too_few(classes: tuple[str, ...], splits: Mapping[str, Split], spec: DataSpec) -> str:
    """Return which class has too few images for what is to be set apart, or ""."""
    parts = [part for part, share in (("validation", spec.validation if "val" not in splits else 0),
                                      ("test", spec.test if {"val", "test"}.isdisjoint(splits) else 0))
             if share]  # fmt: skip
    counts = np.bincount(splits["train"].labels, minlength=len(classes))
    least = int(counts.argmin())
    if counts[least] > len(parts):
        return ""
    return (
        f"The class {classes[least]!r} has {counts[least]} training images: too few to set some apart for "
        f"{' and '.join(parts)} and to train on the others; it needs at least {len(parts) + 1}."
    )


def _with_splits(source: Source, spec: DataSpec, seed: int) -> dict[str, Split]:
    """Set validation images apart where there are none, and test images where there are neither."""
    splits: dict[str, Split] = dict(source.splits)
    if "test" not in splits and "val" not in splits and spec.test:
        splits["train"], splits["test"] = stratified(splits["train"], spec.test, seed, stream=1)
    if "val" not in splits and spec.validation:
        share = min(spec.validation, spec.validation_limit / len(splits["train"]))
        splits["train"], splits["val"] = stratified(splits["train"], share, seed, stream=2)
    return splits


def stratified(split: Split, share: float, seed: int, stream: int = 0) -> tuple[Split, Split]:
    """Divide a split in two, class by class; equal images stay on one side.

    Args:
        split: The images.
        share: Share that goes to the second part: at least one image of each class, and never all of them.
        seed: Decides which.
        stream: Tells apart several divisions under one seed.

    Raises:
        DataError: A class has a single image.
    """
    rng = np.random.default_rng([seed, stream])
    first_copy = _first_copies(split)
    kept: list[NDArray[np.int64]] = []
    taken: list[NDArray[np.int64]] = []
    for label in np.unique(split.labels):
        members = rng.permutation(np.flatnonzero(split.labels == label))
        if len(members) < 2:
            raise DataError(
                f"The class number {label} has a single image ({split.ids[int(members[0])]}); with fewer than three "
                "per class nothing can be set apart for validation and test."
            )
        members = _copies_together(members, first_copy[members])
        count = min(max(1, round(share * len(members))), len(members) - 1)
        count = _behind_copies(first_copy[members], count)
        taken.append(members[:count])
        kept.append(members[count:])
    return split.take(np.sort(np.concatenate(kept))), split.take(np.sort(np.concatenate(taken)))


def _copies_together(members: NDArray[np.int64], first_copy: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move equal images up to the first of them."""
    _, group = np.unique(first_copy, return_inverse=True)
    first_place = np.full(len(members), len(members))
    np.minimum.at(first_place, group, np.arange(len(members)))
    return members[np.argsort(first_place[group], kind="stable")]


def _behind_copies(first_copy: NDArray[np.int64], count: int) -> int:
    """Move a cut behind the group of copies that it goes through, unless that leaves nothing behind it."""
    end = count
    while end < len(first_copy) and first_copy[end] == first_copy[end - 1]:
        end += 1
    return end if end < len(first_copy) else count


def _first_copies(split: Split) -> NDArray[np.int64]:
    """Return for each image the position of the first one that is equal to it, byte by byte."""
    first: dict[object, int] = {}
    if isinstance(split.images, Files):
        return _first_copies_of_files(split.images)
    if isinstance(split.images, np.ndarray):
        keys: list[object] = [_digest(np.ascontiguousarray(image).tobytes()) for image in split.images]
    else:
        bytes_of = [path.stat().st_size for path in split.images]
        common = {size for size, count in Counter(bytes_of).items() if count > 1}
        keys = [
            _digest_of(path, position) if size in common else position
            for position, (path, size) in enumerate(zip(split.images, bytes_of, strict=True))
        ]
    return np.array([first.setdefault(key, position) for position, key in enumerate(keys)], np.int64)


def _first_copies_of_files(files: Files) -> NDArray[np.int64]:
    """Read those of a size that others have too, unless they are known; the others are copies of nothing."""
    _, group, count = np.unique(files.sizes, return_inverse=True, return_counts=True)
    alike = np.flatnonzero(count[group] > 1)
    known = files.facts.knows("content", files.places[alike])
    try:
        for place in alike[~known].tolist():
            with suppress(OSError):  # the scan names it
                digest = _digest(files[place].read_bytes())
                files.facts.learn(files.places[place], content=np.frombuffer(digest, np.uint8))
    finally:
        files.facts.save()
    first = np.arange(len(files))
    alike = alike[files.facts.knows("content", files.places[alike])]
    digests = np.ascontiguousarray(files.facts.content[files.places[alike]]).view("V16").reshape(-1)
    _, earliest, same = np.unique(digests, return_index=True, return_inverse=True)
    first[alike] = alike[earliest[same]]
    return first


def _digest_of(path: Path, position: int) -> object:
    try:
        return _digest(path.read_bytes())
    except OSError:  # the scan names it
        return position


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _measure(split: Split) -> tuple[int, int]:
    """Return the typical shorter side and the channels, from the headers of up to 500 images for files."""
    if isinstance(split.images, np.ndarray):
        return min(split.images.shape[1:3]), int(split.images.shape[3])
    sides, grey = [], []
    for path in split.images[:: max(1, len(split) // 500)]:
        try:
            width, height, colourless = look(path)
        except UnreadableImageError:  # the scan names them; here they tell nothing
            continue
        sides.append(min(width, height))
        grey.append(colourless)
    if not sides:
        return 1, 3
    return int(statistics.median(sides)), 1 if all(grey) else 3


def sizes(splits: Mapping[str, Split]) -> str:
    """Return the split sizes in words: "train 1,294 / val 143 / test 360"."""
    return " / ".join(f"{name} {len(splits[name]):,}" for name in ("train", "val", "test") if name in splits)


def load_for_labels(
    argument: str, classes: tuple[str, ...], split: str | None = None, *, channels: int
) -> tuple[str, Split]:
    """Read labelled images to be judged by a network whose classes are fixed already.

    Args:
        argument: As for :func:`load`; nothing is split off.
        classes: The network's class names in label order. The data may lack some of them.
        channels: Channels that the network sees; grey and colour arrays are turned into one another.
        split: "test", "val", "train" or "all"; None takes test, else val, else all.

    Returns:
        The split's name and its images, labelled by the network's order.

    Raises:
        DataError: The data cannot be read, or have a class that the network does not know.
        UsageError: There is no such split.
    """
    argument = locate(argument)
    source = _read(argument, DATASETS.get(argument, DataSpec()))
    _check_shapes(argument, source)
    _check_names(argument, source)
    if unknown_classes := [name for name in source.classes if name not in classes]:
        raise DataError(
            f"{argument} has the class {unknown_classes[0]!r}, which the run was not trained on; it knows: "
            f"{', '.join(classes)}."
        )
    name = split or next((part for part in ("test", "val") if part in source.splits), "all")
    parts = list(source.splits.values()) if name == "all" else [source.splits[name]] if name in source.splits else []
    if not parts:
        raise UsageError(f"{argument} has no split {name!r}; there are {', '.join(source.splits)} and all.")
    parts = [replace(part, images=_with_channels(part.images, channels, argument)) for part in parts]
    order = np.array([classes.index(own) for own in source.classes])
    images: Images = parts[0].images if len(parts) == 1 else _join([part.images for part in parts])
    labels = order[np.concatenate([part.labels for part in parts])]
    return name, Split(images, labels, tuple(i for part in parts for i in part.ids))


def _with_channels(images: Images, channels: int, argument: str) -> Images:
    """Bring an array to the channels asked for; files are decoded to them anyway."""
    if not isinstance(images, np.ndarray) or images.shape[-1] == channels:
        return images
    if images.shape[-1] == 1 and channels == 3:
        return np.repeat(images, 3, axis=-1)
    if images.shape[-1] == 3 and channels == 1:
        return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])[..., None]
    raise DataError(f"{argument} has images of {images.shape[-1]} channels, but the run was trained on {channels}.")


def _join(images: list[Images]) -> Images:
    arrays = [part for part in images if isinstance(part, np.ndarray)]
    return np.concatenate(arrays) if arrays else [path for part in images for path in part]
