"""Access tokens as attackers make them: each is one trick, and none may get in.

Some are signed by the very key that signs real ones, so that nothing but the trick is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jws
from joserfc.jwk import ECKey

from guilder.platform.identifiers import new_id
from guilder.platform.keys import SigningKey

_TYPE: Final = "at+jwt"
_HALF: Final = 32


def segment(value: object) -> str:
    """One part of a token: bytes as they are, anything else as JSON."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(content).decode().rstrip("=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forger:
    """Knows somebody's account and the public key; where a trick needs it, signs with ``key``."""

    key: SigningKey
    account_id: UUID
    now: int

    @property
    def claims(self) -> dict[str, Any]:
        return {
            "iss": "guilder",
            "aud": "guilder",
            "sub": str(self.account_id),
            "jti": str(new_id()),
            "iat": self.now,
            "exp": self.now + 600,
            "account_type": "customer",
            "roles": ["customer"],
            "customer_id": str(self.account_id),
        }

    @property
    def header(self) -> dict[str, Any]:
        return {"typ": _TYPE, "alg": "ES256", "kid": self.key.kid}

    def token(
        self,
        *,
        header: Mapping[str, object] | None = None,
        claims: Mapping[str, object] | None = None,
        key: ECKey | None = None,
    ) -> str:
        """A real token but for the members given; an ellipsis leaves one out."""
        head = _changed(self.header, header or {})
        stated = _changed(self.claims, claims or {})
        return self.raw(segment(head), segment(stated), key=key)

    def raw(self, head: str, payload: str, *, key: ECKey | None = None) -> str:
        """Any two parts, signed."""
        signing = f"{head}.{payload}"
        return f"{signing}.{segment(_sign(signing.encode(), key or self.key.key))}"

    def with_signature(self, change: Callable[[bytes], bytes]) -> str:
        """A real token whose signature was changed."""
        signing = f"{segment(self.header)}.{segment(self.claims)}"
        return f"{signing}.{segment(change(_sign(signing.encode(), self.key.key)))}"

    def unsigned(self, algorithm: str) -> str:
        head = {**self.header, "alg": algorithm}
        return f"{segment(head)}.{segment(self.claims)}."

    def by_mac(self, algorithm: str, *, secret: bytes, kid: str | None = None) -> str:
        """Signed with a secret that everybody knows."""
        head = {**self.header, "alg": algorithm, "kid": kid or self.key.kid}
        signing = f"{segment(head)}.{segment(self.claims)}"
        digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
        return f"{signing}.{segment(hmac.digest(secret, signing.encode(), digest[algorithm]))}"

    def public_pem(self) -> bytes:
        return bytes(self.key.key.as_pem(private=False))


Forgery = Callable[[Forger], str]


def _changed(members: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in {**members, **changes}.items() if value is not ...}


def _sign(text: bytes, key: ECKey) -> bytes:
    return bytes(jws.JWSRegistry.algorithms["ES256"].sign(text, key))


def _own() -> ECKey:
    return ECKey.generate_key("P-256", private=True)


def _bringing(header: str, *, value: Callable[[ECKey], object]) -> Forgery:
    def forge(forger: Forger) -> str:
        own = _own()
        return forger.token(header={header: value(own), "kid": own.thumbprint()}, key=own)

    return forge


def _under_our_kid(forger: Forger) -> str:
    own = _own()
    return forger.token(header={"jwk": own.as_dict(private=False)}, key=own)


def _unsigned(algorithm: str) -> Forgery:
    return lambda forger: forger.unsigned(algorithm)


def _by_mac(algorithm: str) -> Forgery:
    return lambda forger: forger.by_mac(algorithm, secret=forger.public_pem())


def _header(name: str, value: object) -> Forgery:
    return lambda forger: forger.token(header={name: value})


def _kid(kid: object) -> Forgery:
    return _header("kid", kid)


def _claim(name: str, value: object) -> Forgery:
    return lambda forger: forger.token(claims={name: value})


def _der(signature: bytes) -> bytes:
    return encode_dss_signature(
        int.from_bytes(signature[:_HALF]), int.from_bytes(signature[_HALF:])
    )


def _swapped(forger: Forger) -> str:
    head, _, signature = forger.token().split(".")
    return f"{head}.{segment({**forger.claims, 'roles': ['admin']})}.{signature}"


def _as_json(forger: Forger) -> str:
    head, payload, signature = forger.token().split(".")
    return json.dumps({"protected": head, "payload": payload, "signature": signature})


_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_OTHER_ALGORITHMS: Final = ("RS256", "ES384", "ES512", "ES256K", "EdDSA", "PS256")
_OTHER_TYPES: Final = ("JWT", "rt+jwt", "id+jwt", "logout+jwt", "guilder-heads+jws", "AT+JWT ")

ALGORITHMS: Final[Mapping[str, Forgery]] = {
    **{f"alg {name}": _unsigned(name) for name in ("none", "None", "NONE", "nOnE", "")},
    "alg none and a signature": lambda forger: forger.token(header={"alg": "none"}),
    "no alg": lambda forger: forger.token(header={"alg": ...}),
    "alg null": lambda forger: forger.token(header={"alg": None}),
    "alg as a list": lambda forger: forger.token(header={"alg": ["ES256"]}),
    "alg in other letters": lambda forger: forger.token(header={"alg": "es256"}),
    **{f"{name} with the public key": _by_mac(name) for name in ("HS256", "HS384", "HS512")},
    "HS256 with the published JWK": lambda forger: forger.by_mac(
        "HS256", secret=json.dumps(forger.key.public()).encode()
    ),
    "HS256 with nothing": lambda forger: forger.by_mac("HS256", secret=b""),
    "HS256 with an empty file": lambda forger: forger.by_mac(
        "HS256", secret=b"", kid="../../../../dev/null"
    ),
    **{f"alg {name}": _header("alg", name) for name in _OTHER_ALGORITHMS},
}

KEYS: Final[Mapping[str, Forgery]] = {
    "a key of one's own": lambda forger: forger.token(key=_own()),
    "a key of one's own in jwk": _bringing("jwk", value=lambda own: own.as_dict(private=False)),
    "a key of one's own at jku": _bringing("jku", value=lambda _: "https://evil.example/keys"),
    "a certificate at x5u": _bringing("x5u", value=lambda _: "https://evil.example/cert"),
    "a certificate in x5c": _bringing("x5c", value=lambda _: ["MIIB"]),
    "its own key under our kid": _under_our_kid,
    "no kid": _kid(...),
    "kid null": _kid(None),
    "kid a number": _kid(7),
    "kid a list": _kid([]),
    "kid empty": _kid(""),
    "kid of nobody": _kid("A" * 43),
    "kid with a suffix": lambda forger: forger.token(header={"kid": f"{forger.key.kid}.jwk"}),
    "kid with NUL": lambda forger: forger.token(header={"kid": f"{forger.key.kid}\0"}),
    "kid with a space": lambda forger: forger.token(header={"kid": f" {forger.key.kid}"}),
    "kid that climbs": lambda forger: forger.token(header={"kid": f"../keys/{forger.key.kid}"}),
    "kid of the system": _kid("../../../../../../etc/passwd"),
    "kid that is a command": _kid("|/usr/bin/id"),
    "kid that is SQL": _kid("' UNION SELECT 'AAAA' --"),
    "kid that is long": _kid("k" * 3000),
    "kid in Unicode": lambda forger: forger.token(header={"kid": "\uff21" * 43}),
}

TYPES: Final[Mapping[str, Forgery]] = {
    "no type": lambda forger: forger.token(header={"typ": ...}),
    **{f"type {name}": _header("typ", name) for name in _OTHER_TYPES},
    "critical extension": lambda forger: forger.token(header={"crit": ["exp"], "exp": forger.now}),
    "critical nothing": lambda forger: forger.token(header={"crit": []}),
    "payload not encoded": lambda forger: forger.token(header={"b64": False, "crit": ["b64"]}),
}

CLAIMS: Final[Mapping[str, Forgery]] = {
    "no exp": _claim("exp", ...),
    "exp null": _claim("exp", None),
    "exp as text": lambda forger: forger.token(claims={"exp": str(forger.now + 600)}),
    "exp a fraction": lambda forger: forger.token(claims={"exp": forger.now + 600.5}),
    "exp without end": _claim("exp", float("inf")),
    "exp no number": _claim("exp", float("nan")),
    "exp true": _claim("exp", True),
    "expired": lambda forger: forger.token(
        claims={"iat": forger.now - 1000, "exp": forger.now - 100}
    ),
    "expired before it was issued": lambda forger: forger.token(
        claims={"iat": forger.now, "exp": forger.now - 1}
    ),
    "from the future": lambda forger: forger.token(
        claims={"iat": forger.now + 3600, "exp": forger.now + 7200}
    ),
    "not yet": lambda forger: forger.token(claims={"nbf": forger.now + 3600}),
    "no iat": _claim("iat", ...),
    "another audience": _claim("aud", "somebody-else"),
    "several audiences": _claim("aud", ["guilder", "somebody-else"]),
    "no audience": _claim("aud", ...),
    "another issuer": _claim("iss", "https://evil.example"),
    "no issuer": _claim("iss", ...),
    "nobody": _claim("sub", ...),
    "somebody by name": _claim("sub", "anna"),
    "several people": lambda forger: forger.token(claims={"sub": [str(forger.account_id)]}),
    "roles as text": _claim("roles", "admin"),
    "roles as an object": _claim("roles", {"admin": True}),
    "a machine without its id": _claim("account_type", "client"),
    "a person with a machine's id": lambda forger: forger.token(
        claims={"client_id": str(forger.account_id), "scope": "ledger:write"}
    ),
    "claims that are a list": lambda forger: forger.raw(segment(forger.header), segment([])),
    "claims that are nothing": lambda forger: forger.raw(segment(forger.header), segment(b"")),
    "claims that are no JSON": lambda forger: forger.raw(segment(forger.header), segment(b"{")),
    "claims in another charset": lambda forger: forger.raw(
        segment(forger.header), segment(json.dumps(forger.claims).encode("utf-16"))
    ),
}

SIGNATURES: Final[Mapping[str, Forgery]] = {
    "no signature": lambda forger: forger.with_signature(lambda _: b""),
    "a signature of zeros": lambda forger: forger.with_signature(lambda _: bytes(2 * _HALF)),
    "a signature of the order": lambda forger: forger.with_signature(
        lambda _: _ORDER.to_bytes(_HALF) * 2
    ),
    "a signature in DER": lambda forger: forger.with_signature(_der),
    "a signature cut short": lambda forger: forger.with_signature(lambda signed: signed[:-1]),
    "a signature with more": lambda forger: forger.with_signature(lambda signed: signed + b"\0"),
    "a signature with a bit turned": lambda forger: forger.with_signature(
        lambda signed: bytes([signed[0] ^ 1]) + signed[1:]
    ),
    "halves changed over": lambda forger: forger.with_signature(
        lambda signed: signed[_HALF:] + signed[:_HALF]
    ),
    "another's claims": _swapped,
}

SHAPES: Final[Mapping[str, Forgery]] = {
    "two parts": lambda forger: forger.token().rpartition(".")[0],
    "four parts": lambda forger: f"{forger.token()}.AAAA",
    "five parts": lambda forger: f"{forger.token()}.AAAA.AAAA",
    "JSON": _as_json,
    "padded": lambda forger: f"{forger.token()}=",
    "in the other alphabet": lambda forger: (
        forger.token().replace("-", "+").replace("_", "/") + "/"
    ),
    "twice": lambda forger: f"{forger.token()},{forger.token()}",
    "dots": lambda _: "..",
    "long": lambda _: "a" * 8000,
    "deep": lambda forger: f"{segment(b'[' * 2000)}.{segment(forger.claims)}.{'A' * 86}",
}

FORGERIES: Final[Mapping[str, Forgery]] = {
    **ALGORITHMS,
    **KEYS,
    **TYPES,
    **CLAIMS,
    **SIGNATURES,
    **SHAPES,
}
