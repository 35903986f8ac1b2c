"""A passkey authenticator and its browser in software: real keys, CBOR, COSE and signatures."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN = "http://localhost:8000"
DOMAIN = "localhost"

_PRESENT, _VERIFIED, _SYNCABLE, _SYNCED, _HAS_KEY = 0x01, 0x04, 0x08, 0x10, 0x40
_NO_AAGUID = bytes(16)


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How an authenticator and its browser behave; the default is as they should."""

    origin: str = ORIGIN
    domain: str = DOMAIN
    verifies_user: bool = True
    user_is_present: bool = True
    counts: bool = True
    kind: str | None = None
    challenge: bytes | None = None
    cross_origin: bool = False
    spoils_signature: bool = False
    reuses_id: bool = False
    attests_itself: bool = False


@dataclass(kw_only=True)
class Authenticator:
    """Makes one passkey for each time it is asked to, and signs with the last."""

    manner: Manner = field(default_factory=Manner)
    is_synced: bool = False
    count: int = 0
    credential_id: bytes = b""
    user_handle: bytes = b""
    _key: ec.EllipticCurvePrivateKey | None = None

    def behaving(self, **changes: Any) -> Authenticator:
        """The same passkey on a device that behaves otherwise."""
        return replace(self, manner=replace(self.manner, **changes))

    def create(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What ``navigator.credentials.create`` gives back, as ``toJSON()`` has it."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        if not self.manner.reuses_id:
            self.credential_id = os.urandom(32)
        self.user_handle = unpacked(options["user"]["id"])
        client_data = self._client_data("webauthn.create", options)
        response = {
            "clientDataJSON": packed(client_data),
            "attestationObject": packed(self._attestation(client_data)),
            "transports": ["internal", "hybrid", "telepathy"],
        }
        return self._credential(response)

    def get(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What ``navigator.credentials.get`` gives back, as ``toJSON()`` has it."""
        self.count += self.manner.counts
        data = self._data(with_key=False)
        client_data = self._client_data("webauthn.get", options)
        response = {
            "clientDataJSON": packed(client_data),
            "authenticatorData": packed(data),
            "signature": packed(self._signature(data, client_data)),
            "userHandle": packed(self.user_handle),
        }
        return self._credential(response)

    def _attestation(self, client_data: bytes) -> bytes:
        """Nothing, as is asked for; or, as some do all the same, by the new key itself."""
        data, statement = self._data(with_key=True), {}
        if self.manner.attests_itself:
            statement = {"alg": -7, "sig": self._signature(data, client_data)}
        name = "packed" if statement else "none"
        return cbor2.dumps({"fmt": name, "attStmt": statement, "authData": data})

    def _signature(self, data: bytes, client_data: bytes) -> bytes:
        assert self._key is not None
        signed = data + sha256(client_data).digest()
        if self.manner.spoils_signature:
            signed += b"!"
        return self._key.sign(signed, ec.ECDSA(hashes.SHA256()))

    def _credential(self, response: Mapping[str, Any]) -> dict[str, Any]:
        text = packed(self.credential_id)
        return {
            "id": text,
            "rawId": text,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": dict(response),
        }

    def _client_data(self, kind: str, options: Mapping[str, Any]) -> bytes:
        challenge = self.manner.challenge
        data = {
            "type": self.manner.kind or kind,
            "challenge": options["challenge"] if challenge is None else packed(challenge),
            "origin": self.manner.origin,
            "crossOrigin": self.manner.cross_origin,
        }
        return json.dumps(data).encode()

    def _data(self, *, with_key: bool) -> bytes:
        flags = (
            _PRESENT * self.manner.user_is_present
            | _VERIFIED * self.manner.verifies_user
            | (_SYNCABLE | _SYNCED) * self.is_synced
            | _HAS_KEY * with_key
        )
        head = sha256(self.manner.domain.encode()).digest() + bytes([flags])
        data = head + self.count.to_bytes(4, "big")
        return data + self._attested() if with_key else data

    def _attested(self) -> bytes:
        length = len(self.credential_id).to_bytes(2, "big")
        return _NO_AAGUID + length + self.credential_id + cbor2.dumps(self._cose_key())

    def _cose_key(self) -> dict[int, Any]:
        """The public key as RFC 9053 spells one of curve P-256 for ES256."""
        assert self._key is not None
        point = self._key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (point.x, point.y))
        return {1: 2, 3: -7, -1: 1, -2: x, -3: y}


def packed(raw: bytes) -> str:
    """Bytes in base64url without padding, as browsers write them."""
    return urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def unpacked(text: str) -> bytes:
    """Bytes of base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
