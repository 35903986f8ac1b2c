"""Passkeys as the WebAuthn standard has them: what a browser is asked, and what it answers.

`webauthn` does the cryptography. Nothing it raises about what a stranger sent gets further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    parse_client_data_json,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.options_to_json_dict import options_to_json_dict
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from guilder.identity.api import AccountView
from guilder.identity.api.second_factors import InvalidPasskey
from guilder.identity.store.passkeys import KnownPasskey, PasskeyRow

Credential: TypeAlias = Mapping[str, Any]
"""What a browser gives back, as ``PublicKeyCredential.toJSON()`` spells it."""

CEREMONY_S: Final = 300
_NAME: Final = "Guilder"
_ALGORITHMS: Final = [
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
_TRANSPORTS: Final = frozenset(transport.value for transport in AuthenticatorTransport)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """Which credential a browser presents, for which challenge, and whose it says it is."""

    credential_id: bytes
    challenge: bytes
    user_handle: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """A credential that an authenticator has just made."""

    id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    is_synced: bool
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What an authenticator says of itself in a signature that is genuine."""

    sign_count: int
    is_synced: bool


class RelyingParty:
    """The site that passkeys are for: ``domain`` is in each of them, browsers call from
    ``origins``.
    """

    def __init__(self, *, domain: str, origins: Sequence[str]) -> None:
        self._domain = domain
        self._origins = list(origins)

    def creation_options(
        self, account: AccountView, *, challenge: bytes, known: Sequence[KnownPasskey]
    ) -> Mapping[str, Any]:
        """What ``navigator.credentials.create`` takes: a passkey that can sign in by itself."""
        options = generate_registration_options(
            rp_id=self._domain,
            rp_name=_NAME,
            user_id=account.user_id.bytes,
            user_name=account.email,
            user_display_name=account.full_name,
            challenge=challenge,
            timeout=CEREMONY_S * 1000,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=_descriptors(known),
            supported_pub_key_algs=_ALGORITHMS,
        )
        return options_to_json_dict(options)

    def request_options(
        self, *, challenge: bytes, known: Sequence[KnownPasskey] = ()
    ) -> Mapping[str, Any]:
        """What ``navigator.credentials.get`` takes; without ``known`` the browser offers all."""
        options = generate_authentication_options(
            rp_id=self._domain,
            challenge=challenge,
            timeout=CEREMONY_S * 1000,
            allow_credentials=_descriptors(known),
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def presented(self, credential: Credential) -> Presented:
        """What ``credential`` claims. Nothing is proven yet.

        Raises:
            InvalidPasskey: it is not what a browser gives back.
        """
        try:
            response = credential["response"]
            data = parse_client_data_json(base64url_to_bytes(response["clientDataJSON"]))
            handle = response.get("userHandle")
            found = Presented(
                credential_id=base64url_to_bytes(credential["id"]),
                challenge=data.challenge,
                user_handle=base64url_to_bytes(handle) if handle else None,
            )
        except Exception as error:  # the parsers of a stranger's input have errors of their own
            raise InvalidPasskey from error
        if data.cross_origin:
            # framed by another site, which we never ask for
            raise InvalidPasskey
        return found

    def verify_new(self, credential: Credential, *, challenge: bytes) -> NewCredential:
        """The credential that was made for ``challenge``.

        Raises:
            InvalidPasskey: it was not, or not here, or nobody was recognised by its device.
        """
        try:
            made = verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._domain,
                expected_origin=self._origins,
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
            # a key that is no point on its curve would only be noticed when it is too late
            decoded_public_key_to_cryptography(
                decode_credential_public_key(made.credential_public_key)
            )
            said = credential["response"].get("transports") or ()
            transports = sorted(_TRANSPORTS & {text for text in said if isinstance(text, str)})
        except Exception as error:  # the parsers of a stranger's input have errors of their own
            raise InvalidPasskey from error
        return NewCredential(
            id=made.credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            is_synced=made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
            transports=tuple(transports),
        )

    def verify_use(
        self, credential: Credential, *, challenge: bytes, passkey: PasskeyRow
    ) -> Signed:
        """What ``passkey`` signed for ``challenge``.

        Raises:
            InvalidPasskey: it did not, or not here, or a copy of it has signed since.
        """
        try:
            used = verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._domain,
                expected_origin=self._origins,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=passkey.sign_count,
                require_user_verification=True,
            )
        except Exception as error:  # the parsers of a stranger's input have errors of their own
            raise InvalidPasskey from error
        return Signed(
            sign_count=used.new_sign_count,
            is_synced=used.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
        )


def _descriptors(known: Sequence[KnownPasskey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=passkey.credential_id,
            transports=[AuthenticatorTransport(text) for text in passkey.transports],
        )
        for passkey in known
    ]
