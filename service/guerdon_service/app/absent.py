"""Stands where a part of the domain layer is not composed."""

from typing import NoReturn

from guerdon_service.core.errors import NotReady


class Absent:
    """Every method of it refuses."""

    def __getattr__(self, name: str) -> NoReturn:
        raise NotReady(f"{name} is not available in this service; ask its operator")
