"""Access tokens as text: signed and read, ES256 and ``at+jwt`` only (RFC 9068, RFC 8725).

Reading is strict: one spelling of the text, one algorithm, one type, known claims of the right
kind. What the claims mean for a caller is `guilder.platform.auth`'s.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from guilder.kernel.errors import Unauthenticated
from guilder.platform.keys import ALGORITHM, SigningKey

TYPE: Final = "at+jwt"
MAX_TOKEN_CHARACTERS: Final = 4096
# The last character of 64 bytes in base64url carries two bits, so only four are canonical.
_SHAPE: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]", re.ASCII)


class AccessClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an access token says. Times are Unix seconds; ``sub`` is the account that acts.

    A machine client's has its id as ``sub`` and ``client_id``, what it may at most as ``scope``,
    and as ``owner_id`` the user in whose name it acts, with that user's roles.
    """

    iss: str
    aud: str
    sub: UUID
    jti: UUID
    iat: int
    exp: int
    account_type: str
    roles: tuple[str, ...]
    email: str | None = None
    customer_id: UUID | None = None
    sid: UUID | None = None
    nbf: int | None = None
    client_id: UUID | None = None
    scope: str | None = None
    owner_id: UUID | None = None


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(AccessClaims)
_registry: Final = jws.JWSRegistry(algorithms=[ALGORITHM])


def sign(claims: AccessClaims, *, key: SigningKey) -> str:
    """The compact token that states ``claims`` under ``key``."""
    header = {"typ": TYPE, "alg": ALGORITHM, "kid": key.kid}
    return jws.serialize_compact(header, _encoder.encode(claims), key.key, registry=_registry)


def key_id(token: str) -> str:
    """The ``kid`` of a token whose header is as it must be; nothing is proven yet.

    Raises:
        Unauthenticated: it is not a token of ours by its shape, algorithm or type.
    """
    return _signed(token)[1]


def read(token: str, *, key: ECKey) -> AccessClaims:
    """The claims of ``token``, its signature by ``key`` checked; times are not judged here.

    Raises:
        Unauthenticated: the signature is another's or the claims are not an access token's.
    """
    signed, _ = _signed(token)
    try:
        genuine = jws.validate_compact(signed, key, registry=_registry)
        claims = _decoder.decode(signed.payload) if genuine else None
    except (JoseError, ValueError) as error:
        raise Unauthenticated from error
    if claims is None:
        raise Unauthenticated
    return claims


def _signed(token: str) -> tuple[jws.CompactSignature, str]:
    if len(token) > MAX_TOKEN_CHARACTERS or _SHAPE.fullmatch(token) is None:
        raise Unauthenticated
    try:
        signed = jws.extract_compact(token.encode("ascii"), registry=_registry)
        header = signed.headers()
        kid = header.get("kid")
    except (JoseError, ValueError, AttributeError, RecursionError) as error:
        raise Unauthenticated from error
    # Nothing but these three: a header brings no key, no address of one, and asks for nothing.
    if header != {"typ": TYPE, "alg": ALGORITHM, "kid": kid} or not isinstance(kid, str):
        raise Unauthenticated
    return signed, kid
