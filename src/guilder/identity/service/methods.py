"""By which methods a session has to have begun, so that its beginning shows whose it is."""

from __future__ import annotations

from typing import Final

COUNTING: Final = ("pwd", "mfa")
"""RFC 8176. A code by mail or SMS and a provider's word are weaker than either."""
