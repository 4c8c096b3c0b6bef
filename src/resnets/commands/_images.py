"""Images that a person names: files, and folders of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from resnets.data.sources import image_files
from resnets.errors import DataError, UsageError


def expand(images: Iterable[str | Path]) -> Iterable[Path]:
    """Yield the files, those of folders in the order of their names.

    Raises:
        UsageError: Nothing was named.
        DataError: A path does not exist, or a folder holds no images.
    """
    named = [Path(image).expanduser() for image in images]
    if not named:
        raise UsageError("Name at least one image file or folder to classify.")
    for path in named:
        if path.is_dir():
            found, _ = image_files(path)
            if not found:
                raise DataError(f"The folder {path} holds no JPEG, PNG, BMP, GIF or WebP images.")
            yield from found
        elif path.exists():
            yield path
        else:
            raise DataError(f"There is no image file or folder {path}.")
