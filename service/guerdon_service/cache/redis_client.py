"""A client of Redis whose callers keep deadlines of their own."""

from redis.asyncio import BlockingConnectionPool, Redis

from guerdon_service.core.errors import InvalidInput

LIBRARY_PATIENCE = 10
"""The library's own deadlines are this many times a call's: it counts the event loop's own work as the
server's, which `in_time` does not."""


def redis_client(url: str, timeout_s: float, max_connections: int) -> "Redis":
    """A client that is not yet connected.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout_s: deadline of a call, which its caller keeps, waiting for a connection included.
        max_connections: bound of the pool.

    Raises:
        InvalidInput: `url` is malformed.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=LIBRARY_PATIENCE * timeout_s,
            socket_timeout=LIBRARY_PATIENCE * timeout_s,
            socket_connect_timeout=LIBRARY_PATIENCE * timeout_s,
            protocol=2,  # no HELLO round trip and no push messages
        )
    except ValueError as error:
        raise InvalidInput(
            f"redis_url cannot be used ({error}); write redis://HOST:PORT/DB", param="redis_url"
        ) from None
    return Redis.from_pool(pool)
