"""How machine clients say who they are: by Basic, or in the form (RFC 6749, section 2.3.1)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import unquote_plus
from uuid import UUID

from guilder.identity.domain.clients import Unreadable


def read_credentials(
    authorization: str | None, *, fields: Mapping[str, str]
) -> tuple[UUID, str] | None:
    """The id and the secret that a request shows, in its header or in its body; None: neither.

    Raises:
        Unreadable: it shows both, or one that cannot be anybody's.
    """
    in_body = fields.get("client_secret")
    if authorization is None:
        return None if in_body is None else _named(fields.get("client_id", ""), in_body)
    if in_body is not None:
        raise Unreadable("credentials are in the header and in the body")
    client_id, secret = _basic(authorization)
    if fields.get("client_id", client_id) != client_id:
        raise Unreadable("the header and the body name two clients")
    return _named(client_id, secret)


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise Unreadable("clients authenticate by Basic, or in the body")
    try:
        text = b64decode(encoded.strip(), validate=True).decode("utf-8")
    except ValueError:
        raise Unreadable("the header cannot be decoded") from None
    name, _, secret = text.partition(":")
    # RFC 6749, section 2.3.1: each half is form-encoded before it is joined
    return unquote_plus(name), unquote_plus(secret)


def _named(client_id: str, secret: str) -> tuple[UUID, str]:
    try:
        found = UUID(client_id)
    except ValueError:
        raise Unreadable("the client's id is none") from None
    if str(found) != client_id.lower() or len(secret) > 200:
        raise Unreadable("the client's id or secret is none")
    return found, secret
