"""Calls to sign-in providers: JSON documents asked for and forms sent, under the rules of egress.

Whatever a provider does, a caller gets a document of the kind it asked for, or a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec
import structlog

from guilder.identity.api.outside import OutsideSignInFailed, SignInProviderUnavailable
from guilder.platform.outward import CallFailed, OutwardHttp, Reply

Document = TypeVar("Document")

_JSON: Final = {"accept": "application/json", "user-agent": "Guilder"}
_log = structlog.get_logger("guilder.identity")


class ProviderCalls:
    """The calls to one provider, ``name``d for the log."""

    def __init__(self, http: OutwardHttp, *, name: str) -> None:
        self._http = http
        self._name = name

    async def get(self, url: str, type_: type[Document], *, token: str | None = None) -> Document:
        """The JSON document at ``url``.

        Raises:
            SignInProviderUnavailable: there is none, or it is another.
        """
        headers = dict(_JSON)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        try:
            reply = await self._http.get(url, headers=headers)
        except CallFailed as failure:
            raise self.unavailable(failure.reason) from failure
        if reply.status != 200:
            raise self.unavailable(f"status {reply.status}")
        return self._read(reply, type_)

    async def exchange(
        self,
        url: str,
        type_: type[Document],
        *,
        fields: Mapping[str, str],
        authorization: str | None = None,
    ) -> Document:
        """What a token endpoint answers to a form.

        Raises:
            OutsideSignInFailed: it refuses the code.
            SignInProviderUnavailable: it cannot be reached or understood.
        """
        headers = {**_JSON, "content-type": "application/x-www-form-urlencoded"}
        if authorization is not None:
            headers["authorization"] = authorization
        body = urlencode(fields).encode("ascii")
        try:
            reply = await self._http.post(url, headers=headers, body=body)
        except CallFailed as failure:
            raise self.unavailable(failure.reason) from failure
        if reply.status in {400, 401, 403}:
            _log.warning("provider.refused", provider=self._name, status=reply.status)
            raise OutsideSignInFailed
        if reply.status != 200:
            raise self.unavailable(f"status {reply.status}")
        return self._read(reply, type_)

    def refused(self, problem: str) -> OutsideSignInFailed:
        """The refusal of what the provider said, with the problem in a word for the log."""
        _log.warning("provider.unsound", provider=self._name, problem=problem)
        return OutsideSignInFailed()

    def unavailable(self, reason: str) -> SignInProviderUnavailable:
        """The refusal where the provider is of no use just now, with the reason for the log."""
        _log.warning("provider.unavailable", provider=self._name, reason=reason)
        return SignInProviderUnavailable()

    def _read(self, reply: Reply, type_: type[Document]) -> Document:
        if reply.is_cut:
            raise self.unavailable("answer cut")
        try:
            return msgspec.json.decode(reply.body, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.unavailable("answer unreadable") from error
