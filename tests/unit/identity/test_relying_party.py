"""Whatever a stranger sends as a passkey is read or refused, and never anything else."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.identity.api.second_factors import InvalidPasskey
from guilder.identity.service.relying_party import NewCredential, RelyingParty, Signed
from guilder.identity.store.passkeys import PasskeyRow
from guilder.kernel.ids import UserId
from guilder.platform.identifiers import new_id
from tests.support.authenticator import DOMAIN, ORIGIN, Authenticator, packed, unpacked

SITE = RelyingParty(domain=DOMAIN, origins=[ORIGIN])
CHALLENGE = b"c" * 32
OPTIONS = {"challenge": packed(CHALLENGE), "user": {"id": packed(b"anna")}}

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


def _row(made: NewCredential, *, sign_count: int = 0) -> PasskeyRow:
    return PasskeyRow(
        id=new_id(),
        user_id=UserId(new_id()),
        public_key=made.public_key,
        sign_count=sign_count,
    )


def _used(phone: Authenticator) -> dict[str, Any]:
    return phone.get(OPTIONS)


def test_a_passkey_is_made_and_signs() -> None:
    phone = Authenticator(is_synced=True)
    made = SITE.verify_new(phone.create(OPTIONS), challenge=CHALLENGE)

    signed = SITE.verify_use(_used(phone), challenge=CHALLENGE, passkey=_row(made))

    assert made.transports == ("hybrid", "internal")
    assert signed == Signed(sign_count=1, is_synced=True)


@given(st.dictionaries(st.sampled_from(["id", "rawId", "type", "response"]), JUNK))
def test_junk_is_no_passkey(credential: dict[str, Any]) -> None:
    with pytest.raises(InvalidPasskey):
        SITE.presented(credential)
    with pytest.raises(InvalidPasskey):
        SITE.verify_new(credential, challenge=CHALLENGE)


@given(st.data())
def test_a_response_with_junk_in_it_signs_nothing(data: st.DataObject) -> None:
    phone = Authenticator()
    made = SITE.verify_new(phone.create(OPTIONS), challenge=CHALLENGE)
    credential = _used(phone)
    name = data.draw(st.sampled_from(["clientDataJSON", "authenticatorData", "signature"]))
    credential["response"][name] = data.draw(JUNK)

    with pytest.raises(InvalidPasskey):
        SITE.verify_use(credential, challenge=CHALLENGE, passkey=_row(made))


@given(st.binary(max_size=300))
def test_an_attestation_of_odd_bytes_is_refused(attestation: bytes) -> None:
    credential = Authenticator().create(OPTIONS)
    credential["response"]["attestationObject"] = packed(attestation)

    with pytest.raises(InvalidPasskey):
        SITE.verify_new(credential, challenge=CHALLENGE)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_changed_byte_of_what_was_signed_is_overlooked(place: int, change: int) -> None:
    phone = Authenticator()
    made = SITE.verify_new(phone.create(OPTIONS), challenge=CHALLENGE)
    credential = _used(phone)
    data = bytearray(unpacked(credential["response"]["authenticatorData"]))
    data[place % len(data)] ^= change
    credential["response"]["authenticatorData"] = packed(bytes(data))

    with pytest.raises(InvalidPasskey):
        SITE.verify_use(credential, challenge=CHALLENGE, passkey=_row(made))


def test_deeply_nested_attestations_are_refused() -> None:
    credential = Authenticator().create(OPTIONS)
    credential["response"]["attestationObject"] = packed(b"\x81" * 20_000 + b"\x00")

    with pytest.raises(InvalidPasskey):
        SITE.verify_new(credential, challenge=CHALLENGE)


@pytest.mark.parametrize(
    "changes",
    [{3: -47}, {-1: 2}, {-2: b"\x01" * 32}, {-3: b""}, {1: 3}, {3: -65535}],
)
def test_a_key_that_cannot_verify_is_refused_when_it_is_made(changes: dict[int, Any]) -> None:
    class Odd(Authenticator):
        def _cose_key(self) -> dict[int, Any]:
            return {**super()._cose_key(), **changes}

    with pytest.raises(InvalidPasskey):
        SITE.verify_new(Odd().create(OPTIONS), challenge=CHALLENGE)


def test_an_attestation_that_says_more_than_none_is_refused() -> None:
    credential = Authenticator().create(OPTIONS)
    attestation = cbor2.loads(unpacked(credential["response"]["attestationObject"]))
    attestation["attStmt"] = {"sig": b"0"}
    credential["response"]["attestationObject"] = packed(cbor2.dumps(attestation))

    with pytest.raises(InvalidPasskey):
        SITE.verify_new(credential, challenge=CHALLENGE)


def test_a_passkey_may_attest_itself_and_then_has_to_be_right() -> None:
    phone = Authenticator().behaving(attests_itself=True)
    liar = phone.behaving(spoils_signature=True)

    made = SITE.verify_new(phone.create(OPTIONS), challenge=CHALLENGE)

    assert made.id == phone.credential_id
    with pytest.raises(InvalidPasskey):
        SITE.verify_new(liar.create(OPTIONS), challenge=CHALLENGE)


@pytest.mark.parametrize("cross_origin", [True, 1, "yes"])
def test_a_frame_of_another_site_is_refused(cross_origin: object) -> None:
    credential = _used_by_new()
    client_data = json.loads(unpacked(credential["response"]["clientDataJSON"]))
    client_data["crossOrigin"] = cross_origin
    credential["response"]["clientDataJSON"] = packed(json.dumps(client_data).encode())

    with pytest.raises(InvalidPasskey):
        SITE.presented(credential)


def _used_by_new() -> dict[str, Any]:
    phone = Authenticator()
    phone.create(OPTIONS)
    return _used(phone)
