"""`Client` and `AsyncClient`."""

from guerdon.client.async_client import AsyncClient
from guerdon.client.sync_client import Client

__all__ = ["AsyncClient", "Client"]
