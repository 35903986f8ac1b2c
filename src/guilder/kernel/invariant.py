"""One way to state what must be true of our own code; it stays alive under ``python -O``."""

from __future__ import annotations


class InvariantViolation(AssertionError):
    """Our own reasoning was wrong. The operation stops; nothing of it is committed."""


def invariant(condition: object, message: str) -> None:
    """Stop the operation loudly when ``condition`` is false.

    For bugs only. What a caller can cause is a `Refusal`.

    Raises:
        InvariantViolation: ``condition`` is falsy.
    """
    if not condition:
        raise InvariantViolation(message)
