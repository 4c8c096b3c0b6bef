"""Images of the user's own: a folder, a CSV manifest, an .npz; each gives splits as they lie there."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnets.data.dataset import Split
from resnets.data.decode import SUFFIXES
from resnets.data.files import Files, Names, Walk, walk
from resnets.data.index import Index
from resnets.errors import DataError

SPLIT_FOLDERS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
                 "test": "test", "testing": "test"}  # fmt: skip
_SPLIT_ORDER = {name: ("train", "val", "test").index(part) for name, part in SPLIT_FOLDERS.items()}


@dataclass(frozen=True)
class Source:
    """What a source holds, before anything is split off: class names in label order, splits, remarks."""

    classes: tuple[str, ...]
    splits: Mapping[str, Split]
    notes: tuple[str, ...] = ()


def array_split(name: str, images: NDArray[np.generic], labels: NDArray[np.generic]) -> Split:
    """Make a split of an image array: uint8, channels last.

    Args:
        name: Split name; the images are called "name/0", "name/1", ...
        images: Shape (n, h, w) or (n, h, w, c), uint8.
        labels: Shape (n,) or (n, 1), whole numbers.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DataError(f"Images must be uint8 of shape (n, h, w) or (n, h, w, c), not {images.dtype} {images.shape}.")
    if not images.size:
        raise DataError(f"There are no images in {name!r}, or none with pixels: their shape is {images.shape}.")
    if labels.dtype.kind not in "iu" or labels.ndim == 0 or labels.size != len(labels):
        raise DataError(f"Labels must be whole numbers of shape (n,), not {labels.dtype} {labels.shape} in {name!r}.")
    if len(images) != len(labels):
        raise DataError(f"There are {len(images)} images but {len(labels)} labels in {name!r}.")
    if images.shape[1] in (1, 3) and min(images.shape[2:]) > 4:
        raise DataError(
            f"The images in {name!r} have the shape {images.shape}, as if channels stood first; put them last: "
            "images.transpose(0, 2, 3, 1)."
        )
    pixels: NDArray[np.uint8] = images.astype(np.uint8, copy=False)
    return Split(pixels, labels.reshape(-1).astype(np.int64), tuple(f"{name}/{i}" for i in range(len(images))))


def read_npz(path: Path) -> Source:
    """An .npz with x_train, y_train (and x_val, y_val, x_test, y_test), or images and labels; maybe "classes".

    Raises:
        DataError: The arrays are not there or not of a fitting shape and type.
    """
    try:
        arrays = dict(np.load(path, allow_pickle=False))
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npz without unpickling: {first_line(error)}.") from error
    pairs = {"train": [("x_train", "y_train"), ("images", "labels"), ("x", "y"), ("data", "labels")],
             "val": [("x_val", "y_val")], "test": [("x_test", "y_test")]}  # fmt: skip
    splits: dict[str, Split] = {}
    for name, names in pairs.items():
        for x, y in names:
            if name not in splits and x in arrays and y in arrays and (name == "train" or arrays[x].size):
                splits[name] = array_split(name, arrays[x], arrays[y])
    if "train" not in splits:
        raise DataError(
            f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}; it needs x_train and y_train, or images and "
            "labels (uint8 images of shape (n, h, w) or (n, h, w, c), and class numbers)."
        )
    most = max(int(split.labels.max()) for split in splits.values())
    if min(int(split.labels.min()) for split in splits.values()) < 0:
        raise DataError(f"{path} has labels below 0; class numbers start at 0.")
    if most >= (images := len(splits["train"])):
        raise DataError(
            f"{path} has label {most} but only {images} training images; class numbers run from 0 without gaps."
        )
    names_key = next((key for key in ("classes", "class_names") if key in arrays), None)
    classes = tuple(map(_text, arrays[names_key].reshape(-1) if names_key else range(most + 1)))
    if most >= len(classes):
        raise DataError(f"{path} has label {most} but only {len(classes)} class names.")
    return Source(classes, splits)


def _text(name: object) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


def read_csv(path: Path) -> Source:
    """A CSV manifest with the columns path and label, and maybe split; paths are relative to the manifest.

    Raises:
        DataError: A column is missing, a file is not there, or a split has another name.
    """
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := {"path", "label"} - set(reader.fieldnames or ()):
                raise DataError(
                    f"{path} has no column {sorted(missing)[0]!r}; it needs path and label, and may have split."
                )
            for row in reader:
                name, label, split = row["path"] or "", row["label"] or "", (row.get("split") or "train").lower()
                _check_row(f"{path}, line {reader.line_num}", path.parent, name, label, split)
                rows.append((name, label, split))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from None
    if not rows:
        raise DataError(f"{path} lists no images.")
    classes = tuple(sorted({label for _, label, _ in rows}))
    splits = {
        own: _file_split([(path.parent / n, n, classes.index(lab)) for n, lab, s in rows if SPLIT_FOLDERS[s] == own])
        for own in dict.fromkeys(SPLIT_FOLDERS[s] for _, _, s in rows)
    }
    return Source(classes, splits)


def _check_row(where: str, folder: Path, name: str, label: str, split: str) -> None:
    if split not in SPLIT_FOLDERS:
        raise DataError(f"{where}: the split {split!r} is none of train, val and test.")
    if not label:
        raise DataError(f"{where}: {name!r} has no label.")
    try:
        there = bool(name) and (folder / name).is_file()
    except OSError:  # a name longer than a path may be
        there = False
    if not there:
        raise DataError(f"{where}: there is no file {str(folder / name)[:200]}.")


def read_folder(root: Path) -> Source:
    """A folder of class folders, or of train, val and test folders that hold class folders.

    Class names are sorted by code point, in every language and on every machine.

    Raises:
        DataError: There are no images, no classes, or the classes of the splits differ.
    """
    parts = _split_folders(root)
    aside = sorted(f.name for f in _folders(root) if parts and f not in parts.values())
    notes = [f"folders beside {parts['train'].name} are not read: {', '.join(aside)}"] if aside else []
    parts = parts or {"train": root}
    classes = _class_names(parts["train"])
    if parts["train"] == root and (odd := [name for name in classes if name.lower() in SPLIT_FOLDERS]):
        notes.append(f"{', '.join(odd)} taken for classes: splits are folders train, val and test with classes in them")
    splits = {}
    for name, folder in parts.items():
        splits[name], skipped = _read_class_folders(root, folder, classes)
        if skipped:
            example = skipped[0].relative_to(root)
            notes.append(f"{len(skipped)} files under {folder.name} are no JPEG, PNG, BMP, GIF or WebP, e.g. {example}")
    return Source(classes, splits, tuple(notes))


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folders of train, val and test; none where "train" is a class among others, such as vehicles."""
    folders = sorted(_folders(root), key=lambda f: (_SPLIT_ORDER.get(f.name.lower(), 3), f.name))
    parts: dict[str, Path] = {}
    for folder in folders:
        if own := SPLIT_FOLDERS.get(folder.name.lower()):
            if own in parts:
                raise DataError(f"{root} has two folders for {own}: {parts[own].name} and {folder.name}; keep one.")
            parts[own] = folder
    is_class = "train" in parts and not _folders(parts["train"]) and len(parts) < len(folders)
    return {} if "train" not in parts or is_class else parts


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(sorted(f.name for f in _folders(folder)))
    if not names:
        loose = sum(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
        raise DataError(
            f"{folder} holds {loose or 'no'} images but no class folders; make one folder per class and put its "
            "images into it."
        )
    return names


def _read_class_folders(root: Path, folder: Path, classes: tuple[str, ...]) -> tuple[Split, list[Path]]:
    extra = sorted({f.name for f in _folders(folder)} - set(classes))
    if extra:
        raise DataError(f"{folder} has the class {extra[0]!r}, which the training images lack; rename or remove it.")
    walks = [walk(folder / name) for name in classes]
    for name, found in zip(classes, walks, strict=True):
        if not found.names:
            unread = f" ({len(found.others)} files there are no JPEG, PNG, BMP, GIF or WebP)" if found.others else ""
            raise DataError(
                f"The class {name!r} has no images in {folder}{unread}; add some, or remove the class from every split."
            )
    labels = np.repeat(np.arange(len(classes)), [len(found.names) for found in walks])
    before = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    own = [f"{before}{name}/{file}" for name, found in zip(classes, walks, strict=True) for file in found.names]
    names, sizes, times = Names.of(own), *(_row(walks, column) for column in ("sizes", "times"))
    index = Index(folder, names.text, names.ends, sizes, times)
    skipped = [folder / name / other for name, found in zip(classes, walks, strict=True) for other in found.others]
    return Split(Files(root, names, sizes, index), labels, names), skipped


def _row(walks: Sequence[Walk], column: str) -> NDArray[np.int64]:
    return np.array([value for found in walks for value in getattr(found, column)], np.int64)


def _file_split(rows: list[tuple[Path, str, int]]) -> Split:
    return Split(
        tuple(path for path, _, _ in rows), np.array([n for _, _, n in rows], np.int64), tuple(i for _, i, _ in rows)
    )


def _folders(folder: Path) -> list[Path]:
    return [f for f in folder.iterdir() if f.is_dir() and not f.name.startswith((".", "__"))]


def image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the image files in a folder and all folders below, and the other files; hidden ones are left out."""
    found = walk(folder)
    return [folder / name for name in found.names], [folder / name for name in found.others]


def first_line(error: Exception) -> str:
    """Return the first line of an error of somebody else's, for a sentence of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def read_path(path: Path) -> Source:
    """A folder, a CSV manifest or an .npz file.

    Raises:
        DataError: It is none of these, or cannot be read.
    """
    readers: dict[str, Callable[[Path], Source]] = {".csv": read_csv, ".npz": read_npz}
    if path.is_dir():
        return read_folder(path)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is a file, but no .csv manifest and no .npz; give a folder of class folders.")
    try:
        return reader(path)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
