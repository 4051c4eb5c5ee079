"""Log lines: one JSON object each, or plain text for people."""

import json
import logging
import sys
import warnings
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

_request_id: ContextVar[str] = ContextVar("guerdon_request_id", default="")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request_id"}


class logged_request:
    """Within, every log line of this task (and of tasks it starts) carries `request_id`.

    A class, as every request has one and a generator would cost more.
    """

    __slots__ = ("_before", "_request_id")

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def __enter__(self) -> None:
        self._before = _request_id.set(self._request_id)

    def __exit__(self, *error: object) -> None:
        _request_id.reset(self._before)


def configure_logging(level: str = "INFO", *, json: bool = True, stream: TextIO | None = None) -> None:
    """Send every logger's lines to `stream` (standard error for None); replaces what was configured.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``.
        json: one JSON object a line; False is plain text.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_add_request_id)
    handler.setFormatter(
        JsonFormatter() if json else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # peft asks each model by transformers' old name for it; whoever runs the service can mend neither
    warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated")


def claim_transformers_logs() -> None:
    """Lines of `transformers`, which has a handler of its own, go where all others go; bars are none."""
    # imported late: it takes seconds, and a wrong flag is answered without it
    from transformers.utils import logging as own

    own.disable_default_handler()
    own.enable_propagation()
    own.disable_progress_bar()


class JsonFormatter(logging.Formatter):
    """``ts`` (RFC 3339, UTC), ``level``, ``logger``, ``message``, ``request_id``, then the extras.

    An extra that JSON cannot hold is written as its text; ``exception`` holds the traceback. Names with a
    leading underscore, which libraries such as Ray put on every record of the process, are left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON without a line break."""
        fields: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", ""),
        }
        own = {k: v for k, v in vars(record).items() if k not in _STANDARD and not k.startswith("_")}
        fields |= {k: v for k, v in own.items() if k not in fields}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = getattr(record, "request_id", None) or _request_id.get()
    return True
