"""The one kind of failure that is told to whoever runs Guilder as a line, without a trace."""

from __future__ import annotations


class CannotStart(Exception):
    """Guilder cannot run as it is set up. The message says what is wrong and what to do."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What to tell, one problem a line."""
        return (str(self),)
