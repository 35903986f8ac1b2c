"""What may be a name, an email, a phone and a password."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.identity.api import Applicant
from guilder.identity.domain import applicants as domain
from guilder.identity.domain.applicants import Malformed
from guilder.kernel.errors import ValidationFailed

BAD_TEXTS = {
    "empty": "",
    "blank": "   ",
    "NUL": "anna\0@example.com",
    "lone surrogate": "anna\ud800@example.com",
    "line break": "anna\n@example.com",
    "line separator": "anna\u2028@example.com",
    "escape": "anna\x1b[31m@example.com",
    "text direction": "anna\u202e@example.com",
    "very long": "a" * 10_000,
    "very long and wide": "\N{PILE OF POO}" * 10_000,
}


def phone(text: str) -> str:
    return domain.read_phone(text, default_region="IN")


def applicant(**changes: str | None) -> Applicant:
    details = {
        "email": "anna@example.com",
        "full_name": "Anna Rao",
        "phone": "+919876543210",
        "password": "SecurePass123",
    }
    return Applicant(**{**details, **changes})


def problems(**changes: str | None) -> dict[str, str]:
    with pytest.raises(ValidationFailed) as refused:
        domain.read_applicant(applicant(**changes), default_region="IN")
    fields = refused.value.details["fields"]
    assert isinstance(fields, dict)
    return fields


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("anna@example.com", "anna@example.com"),
        ("Anna.Rao+bank@EXAMPLE.Com", "Anna.Rao+bank@example.com"),
        ("anna@guilder.test", "anna@guilder.test"),
        ("anna@bank.local", "anna@bank.local"),
        ("anna@shop.example", "anna@shop.example"),
        ("anna@B\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.de", "anna@b\u00fccher.de"),
        ("u\u0308@example.com", "\u00fc@example.com"),
    ],
)
def test_email_is_normalised(text: str, address: str) -> None:
    assert domain.read_email(text).address == address


@pytest.mark.parametrize("text", ["ａnna@example.com", "ⓐnna@example.com", "anna²@example.com"])  # noqa: RUF001 - letters that look like others
def test_email_in_letters_that_look_like_others_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="only look like"):
        domain.read_email(text)


def test_emails_that_differ_in_case_are_one_email() -> None:
    keys = {domain.read_email(text).key for text in ("Anna@Example.com", "anna@EXAMPLE.com")}

    assert keys == {"anna@example.com"}


@pytest.mark.parametrize(
    "text",
    [
        *BAD_TEXTS.values(),
        "anna",
        "@example.com",
        "anna@",
        "anna@localhost",
        "anna@local",
        "anna@.local",
        "anna@[127.0.0.1]",
        "anna@@example.com",
        "Anna Rao <anna@example.com>",
        '"anna rao"@example.com',
        "anna@example..com",
        "anna@-example.com",
        "a" * 65 + "@example.com",
        "anna@nowhere.invalid",
    ],
)
def test_email_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        domain.read_email(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+919876543210", "+919876543210"),
        ("9876543210", "+919876543210"),
        ("09876543210", "+919876543210"),
        ("+91 98765-43210", "+919876543210"),
        ("+91 (98765) 43210", "+919876543210"),
        ("+910000000000", "+910000000000"),
        ("+911234567890", "+911234567890"),
        ("+14155552671", "+14155552671"),
        ("+44 7911 123456", "+447911123456"),
    ],
)
def test_phone_is_stored_in_its_international_form(text: str, number: str) -> None:
    assert phone(text) == number


def test_phone_without_country_code_is_of_the_default_region() -> None:
    assert domain.read_phone("(415) 555-2671", default_region="US") == "+14155552671"


@pytest.mark.parametrize(
    "text",
    [
        *BAD_TEXTS.values(),
        "12345",
        "+91987654321",
        "+9198765432101",
        "+1555",
        "+999123456789",
        "1-800-FLOWERS",
        "9876543210 ext. 5",
        "9876543210;ext=5",
        "\uff0b\uff19\uff11\uff19\uff18\uff17\uff16\uff15\uff14\uff13\uff12\uff11\uff10",
        "tel:+919876543210",
        "+",
        "()",
        "++919876543210",
    ],
)
def test_phone_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        phone(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("John Doe", "John Doe"),
        ("  Anna Rao ", "Anna Rao"),
        ("O'Brien-Smith, Jr.", "O'Brien-Smith, Jr."),
        ("Jose\u0301", "Jos\u00e9"),
        ("\u0905\u0928\u094d\u200d\u0928\u093e", "\u0905\u0928\u094d\u200d\u0928\u093e"),
        ("\u5f20\u4f1f", "\u5f20\u4f1f"),
        ("A" * 200, "A" * 200),
    ],
)
def test_name_is_kept_in_composed_form(text: str, name: str) -> None:
    assert domain.read_full_name(text) == name


@pytest.mark.parametrize(
    "text", [*BAD_TEXTS.values(), "A" * 201, "\u200d", "\u3164", "Anna\tRao", "Anna\u200bRao"]
)
def test_name_that_is_no_line_of_text_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        domain.read_full_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "SecurePass123",
        "OldPass123",
        "NewSecurePass456",
        "correct horse battery staple",
        "p\u00e4ssw\u00f6rter\U0001f511",
        "x" * 64 + "y" * 64,
    ],
)
def test_good_password_is_accepted(text: str) -> None:
    assert domain.read_new_password(text, not_like=("anna@example.com",)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("short12", "shorter than 8"),
        ("\ufdfa", "shorter than 8"),
        ("\u3300\u3301", "shorter than 8"),
        ("e\u0301" * 4, "shorter than 8"),
        ("secure\u0378pass", "not assigned"),
        ("x" * 129, "longer than 128"),
        ("a" * 10_000, "longer than 128"),
        ("Password1", "attackers"),
        ("QWERTYUIOP", "attackers"),
        ("zzzzzzzzzzzz", "attackers"),
        ("        ", "attackers"),
        ("secure\0pass", "typed"),
        ("secure\npass", "typed"),
        ("secure\ud800pass", "typed"),
        ("Anna@Example.com", "same as"),
        ("ANNA RAO", "same as"),
        ("annarao ", "same as"),
        ("AnnaRao123!", "digits or punctuation"),
        ("1-anna-rao-1", "digits or punctuation"),
        ("anna@example.com1", "digits or punctuation"),
        ("anna@example.com.2026", "digits or punctuation"),
    ],
)
def test_bad_password_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        domain.read_new_password(text, not_like=("anna@example.com", "Anna Rao"))


def test_password_is_the_same_however_its_accents_are_composed() -> None:
    assert domain.read_password("pa\u0308ssword") == domain.read_password("p\u00e4ssword")


def test_good_applicant_becomes_a_person() -> None:
    person = domain.read_applicant(applicant(email="Anna@Example.com"), default_region="IN")

    assert (person.email.address, person.email.key) == ("Anna@example.com", "anna@example.com")
    assert (person.phone, person.full_name) == ("+919876543210", "Anna Rao")
    assert "SecurePass123" not in repr(person)


def test_every_wrong_field_is_named_at_once() -> None:
    found = problems(email="anna", phone="12", full_name="", password="short")

    assert set(found) == {"email", "phone", "full_name", "password"}


@pytest.mark.parametrize(
    "password",
    ["anna@example.com", "anna.patel", "anna Patel", "+919876543210", "Anna.Patel2026"],
)
def test_password_that_is_the_applicants_own_details_is_refused(password: str) -> None:
    found = problems(
        email="anna.patel@example.com" if "patel" in password else "anna@example.com",
        full_name="Anna Patel",
        password=password,
    )

    assert set(found) == {"password"}


def test_staff_need_no_phone() -> None:
    person = domain.read_applicant(applicant(phone=None), default_region="IN")

    assert person.phone is None


@pytest.mark.parametrize("text", ["anna@example.com", "+919876543210", "nobody", ""])
def test_what_somebody_could_sign_in_with_is_plain(text: str) -> None:
    assert domain.is_plain_name(text)


@pytest.mark.parametrize("text", ["a\0b", "a\ud800", "a\n", "a" * 255])
def test_what_nobody_could_sign_in_with_is_not_plain(text: str) -> None:
    assert not domain.is_plain_name(text)


@pytest.mark.parametrize(
    "read", [domain.read_email, phone, domain.read_full_name, domain.read_password]
)
@given(text=st.text(alphabet=st.characters()))
def test_any_text_is_read_or_refused(read: Callable[[str], object], text: str) -> None:
    verdict: object
    try:
        verdict = read(text)
    except Malformed as refused:
        verdict = str(refused)

    assert verdict


@pytest.mark.parametrize("field", ["email", "full_name"])
def test_what_was_refused_is_not_looked_for_in_the_password(field: str) -> None:
    """It may be of any length, and is nobody's."""
    found = problems(**{field: "not\nwhat you think", "password": "not\nwhat you think 1"})

    assert found[field]
    assert "the name" not in found.get("password", "")
