"""What may be a name, an email, a phone number and a password. Pure: text in, verdict out.

Each ``read_`` function returns the form that is stored or says, in words that complete a sentence
beginning with the field's name, why it cannot.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from guilder.identity.api import Applicant
from guilder.kernel.errors import ValidationFailed

Value = TypeVar("Value")

MAX_NAME_CHARACTERS: Final = 200
MAX_EMAIL_CHARACTERS: Final = 254
MAX_PHONE_CHARACTERS: Final = 32
MIN_PASSWORD_CHARACTERS: Final = 8
MAX_PASSWORD_CHARACTERS: Final = 128

_COMMON_PASSWORDS: Final = frozenset(FREQUENCY_LISTS["passwords"])
_NOT_TEXT: Final = frozenset({"Cc", "Cs"})
_UNASSIGNED: Final = "Cn"
_NOT_IN_A_LINE: Final = _NOT_TEXT | {"Zl", "Zp", "Cf"}
# Joiners carry meaning in the names of many scripts; the other format characters only deceive.
_JOINERS: Final = frozenset({"\u200c", "\u200d"})
_PHONE: Final = re.compile(r"\+?[0-9(][0-9 ().\-]*", re.ASCII)
_PHONE_PUNCTUATION: Final = re.compile(r"[ ().\-]", re.ASCII)
# The reference document's own rule for India; looser than the numbering plan.
_INDIAN_NUMBER: Final = re.compile(r"\+91[0-9]{10}", re.ASCII)
# Names of private networks: real addresses there, and refused by the library with no switch.
_PRIVATE_DOMAIN: Final = ".local"
_STAND_IN: Final = ".example"


class Malformed(ValueError):
    """A text is not what its field is for. The message completes a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """An address as it is shown and written to, and the key under which it is unique."""

    address: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An applicant whose every field has been read."""

    email: Email
    phone: str | None
    full_name: str
    password: str = field(repr=False)


def read_email(text: str) -> Email:
    """The address with its domain in lower case, normalised; no network is asked.

    Raises:
        Malformed: it is no email address.
    """
    if len(text) > MAX_EMAIL_CHARACTERS:
        raise Malformed(f"is longer than {MAX_EMAIL_CHARACTERS} characters")
    if not _is_one_line(text):
        raise Malformed("contains characters that no email address has")
    stand_in = _STAND_IN if text.lower().endswith(_PRIVATE_DOMAIN) else ""
    try:
        found = validate_email(
            text + stand_in, check_deliverability=False, test_environment=True, strict=True
        )
    except EmailNotValidError as error:
        raise Malformed("is not an email address") from error
    address = found.normalized.removesuffix(stand_in)
    if not unicodedata.is_normalized("NFKC", address):
        # full width letters and their like: another address that people read as somebody's
        raise Malformed("contains characters that only look like those of an email address")
    return Email(address=address, key=email_key(address))


def email_key(address: str) -> str:
    """Under which an address is unique, however its letters are written."""
    return address.casefold()


def read_phone(text: str, *, default_region: str) -> str:
    """The number as E.164; one without a country code is taken to be of ``default_region``.

    Raises:
        Malformed: it is no telephone number that can exist.
    """
    if len(text) > MAX_PHONE_CHARACTERS or _PHONE.fullmatch(text) is None:
        raise Malformed("is not a telephone number")
    digits = _PHONE_PUNCTUATION.sub("", text)
    if _INDIAN_NUMBER.fullmatch(digits):
        return digits
    try:
        number = phonenumbers.parse(digits, default_region)
    except phonenumbers.NumberParseException as error:
        raise Malformed("is not a telephone number") from error
    if not phonenumbers.is_valid_number(number):
        raise Malformed("is not a telephone number that exists in its country")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def read_full_name(text: str) -> str:
    """The name in Unicode's composed form, without space around it.

    Raises:
        Malformed: it is empty, too long, or not a single line of text.
    """
    if len(text) > MAX_NAME_CHARACTERS:
        raise Malformed(f"is longer than {MAX_NAME_CHARACTERS} characters")
    if not _is_one_line(text):
        raise Malformed("is not a single line of text")
    name = unicodedata.normalize("NFC", text.strip())
    if not name.strip("\u200c\u200d \u3164\u115f\u1160\u2800"):
        raise Malformed("is empty")
    return name


def read_password(text: str) -> str:
    """A password somebody signs in with, in the form that is hashed (NFKC, as NIST 800-63B asks).

    Raises:
        Malformed: it could not be anybody's password.
    """
    if not text:
        raise Malformed("is empty")
    if len(text) > MAX_PASSWORD_CHARACTERS:
        raise Malformed(f"is longer than {MAX_PASSWORD_CHARACTERS} characters")
    if any(unicodedata.category(character) in _NOT_TEXT for character in text):
        raise Malformed("contains characters that cannot be typed")
    return unicodedata.normalize("NFKC", text)


def read_new_password(text: str, *, not_like: tuple[str, ...]) -> str:
    """A password somebody chooses; ``not_like`` are the texts that others would try first.

    Raises:
        Malformed: it is too short, has characters that no standard knows yet, is among the
            commonly used ones, or is the person's own details, at most with digits and
            punctuation about them.
    """
    password = read_password(text)
    # One character may be normalised to eighteen, and several to one: both have to be enough.
    if min(len(text), len(password)) < MIN_PASSWORD_CHARACTERS:
        raise Malformed(f"is shorter than {MIN_PASSWORD_CHARACTERS} characters")
    if any(unicodedata.category(character) == _UNASSIGNED for character in text):
        # What a later standard makes of them may be another text, and then nobody can sign in.
        raise Malformed("contains characters that are not assigned")
    if password.lower() in _COMMON_PASSWORDS or len(set(password)) == 1:
        raise Malformed("is among the first that attackers try")
    squeezed = _squeeze(password)
    if any(squeezed == _squeeze(own) for own in not_like):
        raise Malformed("is the same as the name, email or phone")
    letters = _letters(password)
    if letters and any(letters == _letters(own) for own in not_like):
        raise Malformed("is the name or email with digits or punctuation only")
    return password


def read_applicant(applicant: Applicant, *, default_region: str) -> Person:
    """The person an applicant is.

    Raises:
        ValidationFailed: names every field that is wrong and why.
    """
    written, form = applicant, _Form()
    email = form.read("email", lambda: read_email(written.email))
    phone = form.read("phone", lambda: _read_optional_phone(written.phone, default_region))
    full_name = form.read("full_name", lambda: read_full_name(written.full_name))
    # What was refused may be of any length, and is nobody's.
    own = (
        *(() if email is None else (written.email, written.email.partition("@")[0])),
        *(() if full_name is None else (written.full_name,)),
        *(() if phone is None or written.phone is None else (written.phone,)),
    )
    password = form.read("password", lambda: read_new_password(written.password, not_like=own))
    if form.problems or email is None or full_name is None or password is None:
        raise ValidationFailed(fields=form.problems)
    return Person(email=email, phone=phone, full_name=full_name, password=password)


class _Form:
    """Reads field after field and keeps what is wrong with each."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    def read(self, name: str, reader: Callable[[], Value]) -> Value | None:
        try:
            return reader()
        except Malformed as problem:
            self.problems[name] = str(problem)
            return None


def _read_optional_phone(text: str | None, default_region: str) -> str | None:
    return None if text is None else read_phone(text, default_region=default_region)


def _squeeze(text: str) -> str:
    return "".join(text.split()).casefold()


def _letters(text: str) -> str:
    """What is left of a text without what people add to a name to make it a password."""
    whole = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in whole if unicodedata.category(character)[0] in "LM")


def _is_one_line(text: str) -> bool:
    return all(
        unicodedata.category(character) not in _NOT_IN_A_LINE or character in _JOINERS
        for character in text
    )


def is_plain_name(text: str) -> bool:
    """Whether somebody could have written ``text`` as the email or phone to sign in with."""
    return len(text) <= MAX_EMAIL_CHARACTERS and _is_one_line(text)
