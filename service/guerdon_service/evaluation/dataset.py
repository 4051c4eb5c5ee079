"""Which file of the data folder an evaluation may read."""

from pathlib import Path

from guerdon_service.core.errors import InvalidInput


class MissingDataset(InvalidInput):
    """The data folder has no such file; that of another replica may."""


def dataset_path(folder: Path, name: str) -> Path:
    """The file `name` of `folder`.

    Raises:
        InvalidInput: `name` is no plain file name, or leads out of the folder.
        MissingDataset: there is no such file.
    """
    path = folder / name
    is_plain = name == Path(name).name and not name.startswith(".")
    try:
        is_inside = is_plain and path.resolve().is_relative_to(folder.resolve())
        is_there = is_inside and path.is_file()
    except (OSError, ValueError):  # it is longer than a name can be, or holds what none can
        is_inside = is_there = False
    if not is_inside:
        raise InvalidInput(
            f"dataset is {name[:80]!r}; give the name of a file in the service's data folder", param="dataset"
        )
    if not is_there:
        raise MissingDataset(
            f"dataset {name[:80]!r} is not in the service's data folder; put it there", param="dataset"
        )
    return path
