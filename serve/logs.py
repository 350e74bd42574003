"""One JSON object per line on standard error, of what happened and never of whom: no file names, no audio, no addresses of clients."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("serve")


def set_up(level: str) -> None:
    """Send the service's log, and what uvicorn says of starting and stopping, to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    # uvicorn's own line of a request holds the client's address and query.
    logging.getLogger("uvicorn.access").disabled = True


def log(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write one line.

    Args:
        event: what happened, in snake_case.
        level: of `logging`.
        fields: numbers and names of ours; nothing that a client wrote.
    """
    LOGGER.log(level, event, extra={"fields": fields})


def log_fault(event: str, error: BaseException, **fields: Any) -> None:
    """Write where ``error`` was raised, without its text, which may hold what a client sent."""
    frames = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log(event, logging.ERROR, error=type(error).__name__, at=frames[-8:], **fields)


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "process": record.process,
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
        return json.dumps(line, default=str)
