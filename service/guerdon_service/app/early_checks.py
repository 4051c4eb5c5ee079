"""What a start refuses at once, which it would refuse all the same seconds later, with torch imported."""

from guerdon_service.app.listen import check_ports
from guerdon_service.app.settings import Settings
from guerdon_service.cache.redis_client import redis_client
from guerdon_service.core.artifact import check_backend


def check_early(settings: Settings) -> None:
    """Look at what costs nothing to look at.

    Raises:
        InvalidInput: no such back end, a malformed `redis_url`, a `state_url` that names no database, or a
            port that cannot be had.
    """
    for backend in (settings.backend, *(spec.backend for spec in settings.specs)):
        check_backend(backend)
    if settings.redis_url is not None:
        redis_client(settings.redis_url, timeout_s=1.0, max_connections=1)  # connects when it is first asked
    if settings.state_url is not None:
        from guerdon_service.state.database import check_url  # SQLAlchemy takes half a second to import

        check_url(settings.state_url)
    check_ports(settings)
