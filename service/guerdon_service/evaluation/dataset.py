"""Which file of the data folder an evaluation may read."""

from pathlib import Path

from guerdon_service.core.errors import InvalidInput


def dataset_path(folder: Path, name: str) -> Path:
    """The file `name` of `folder`.

    Raises:
        InvalidInput: `name` is no plain file name, leads out of the folder, or there is no such file.
    """
    path = folder / name
    is_plain = name == Path(name).name and not name.startswith(".") and "\0" not in name
    if not is_plain or not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidInput(
            f"dataset is {name[:80]!r}; give the name of a file in the service's data folder", param="dataset"
        )
    if not path.is_file():
        raise InvalidInput(
            f"dataset {name[:80]!r} is not in the service's data folder; put it there", param="dataset"
        )
    return path
