"""Logs: one line an event, as JSON or for a terminal, with the request's id and nobody's secrets.

Everything that is logged passes through `mask`, the text of exceptions and the messages of
libraries included. Names of fields decide first, then the shape of the text.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import Processor

HIDDEN: Final = "***"
bound = bound_contextvars
"""``with bound(request_id=…):`` puts a value on every line that is logged inside."""

_SECRET_NAME: Final = re.compile(
    r"(password|passwd|secret|token|authorization|cookie|credential|api_?key|private_?key|otp"
    r"|\bpin\b|cvv|cvc|\bpan\b|card_?number|national_?id|signature)",
    re.IGNORECASE,
)
_PERSONAL_NAME: Final = re.compile(
    r"(^|_)(email|phone|mobile|full_name|first_name|last_name|date_of_birth|address|iban)($|_)",
    re.IGNORECASE,
)
_OPEN_NAMES: Final = frozenset({"timestamp", "level", "logger"})
_SHAPES: Final = (
    # -----BEGIN PRIVATE KEY-----
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(-----END [A-Z ]+-----|\Z)", re.DOTALL), HIDDEN),
    # Bearer abc.def and Basic abc=
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # a JSON Web Token
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?"), HIDDEN),
    # user:password@ in an address
    (re.compile(r"(?<=://)([^\s:/@]*):[^\s@]+@"), rf"\1:{HIDDEN}@"),
    # password=… and "otp": "…" inside a text
    (
        re.compile(
            r"(?i)([\"']?\b(?:password|passwd|secret|\w*token|otp|pin|cvv|api_?key)\b[\"']?"
            r"\s*[=:]\s*)([\"'][^\"']*[\"']|[^\s,;&)}]+)"
        ),
        rf"\1{HIDDEN}",
    ),
    # anna@example.org
    (re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)+"), HIDDEN),
    # +919876543210, and any run of ten to nineteen digits with the usual gaps: phones, cards
    (re.compile(r"(?<![\w.-])\+?\d(?:[ -]?\d){9,18}(?![\w-])"), HIDDEN),
)


def mask(value: object, *, name: str = "") -> Any:
    """``value`` without secrets and personal data, at any depth of mappings and sequences."""
    if name in _OPEN_NAMES or value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(name) or _PERSONAL_NAME.search(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(key): mask(item, name=str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(item) for item in value]
    if isinstance(value, int | float):
        return value
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    for shape, shown in _SHAPES:
        text = shape.sub(shown, text)
    return text


def masked(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The structlog processor that masks a whole line; it stands last before the rendering."""
    for name, value in event.items():
        # what structlog passes on to its own renderer is no text of ours
        if not name.startswith("_"):
            event[name] = mask(value, name=name)
    return event


def configure_logging(*, level: str, as_json: bool, to: TextIO = sys.stderr) -> None:
    """Send every log line of this process, ours and of libraries, to ``to``, masked."""
    before: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=to.isatty())
    )
    handler = logging.StreamHandler(to)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                masked,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # two lines for each request are the gateway's business, not the server's
    logging.getLogger("uvicorn.access").disabled = True
    for noisy in ("alembic", "asyncio", "uvicorn", "uvicorn.error", "httpcore2", "httpx2"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
