"""The providers that people may sign in with, as a file of the operator's names them.

It is JSON: ``{"google": {"client_id": "…", "client_secret": "…"}, "github": {…}, "acme":
{"issuer": "https://id.acme.example", …}}``. Google and GitHub are known; others say their issuer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from guilder.identity.api.outside import Provider
from guilder.identity.service.github_provider import PUBLIC, GitHubProvider
from guilder.identity.service.oidc_provider import OidcProvider, Registered
from guilder.identity.service.provider_calls import ProviderCalls
from guilder.platform.outward import OutwardHttp
from guilder.platform.startup import CannotStart

GITHUB: Final = "github"
_ISSUERS: Final[Mapping[str, str]] = {"google": "https://accounts.google.com", GITHUB: PUBLIC}
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")
_Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[!-~]+\Z")]
_Url = Annotated[str, Meta(max_length=500, pattern=r"^https?://[!-~]+\Z")]


class ProvidersUnusable(CannotStart):
    """The file of the sign-in providers cannot be read, or says what it must not."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    client_id: _Text
    client_secret: _Text
    issuer: _Url | None = None


def read_providers(path: Path | None, *, http: OutwardHttp) -> Mapping[str, Provider]:
    """The providers of the file by their names; none without a file.

    Raises:
        ProvidersUnusable: the file is missing or not as it must be; no secret is told.
    """
    if path is None:
        return {}
    try:
        entries = msgspec.json.decode(path.read_bytes(), type=dict[str, _Entry])
    except OSError as error:
        raise ProvidersUnusable(f"{path}: cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProvidersUnusable(f"{path}: {error}") from error
    return {name: _provider(name, entry, path=path, http=http) for name, entry in entries.items()}


def _provider(name: str, entry: _Entry, *, path: Path, http: OutwardHttp) -> Provider:
    if _NAME.fullmatch(name) is None:
        raise ProvidersUnusable(f"{path}: a provider's name is like google, of at most 30 letters")
    issuer = entry.issuer or _ISSUERS.get(name)
    if issuer is None:
        raise ProvidersUnusable(f"{path}: {name} needs its issuer, as https://id.acme.example")
    calls = ProviderCalls(http, name=name)
    registered = Registered(client_id=entry.client_id, client_secret=entry.client_secret)
    if name == GITHUB:
        return GitHubProvider(site=issuer.rstrip("/"), registered=registered, calls=calls)
    return OidcProvider(issuer=issuer, registered=registered, calls=calls)
