"""Every template in every language, and what values can and cannot do to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

import guilder.notifications
from guilder.notifications.api import TemplateNotFound
from guilder.notifications.domain.notices import TEMPLATES
from guilder.notifications.domain.preferences import LANGUAGES
from guilder.notifications.service.wording import Writer

FOLDER = Path(guilder.notifications.__file__).parent / "templates"
KOLKATA = "Asia/Kolkata"


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer(region="IN")


def words_of_message(text: str) -> dict[str, str]:
    return {"subject": "News", "text": text}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_whole_in_each_language(
    writer: Writer, name: str, language: str
) -> None:
    wording = writer.preview(name, language=language, time_zone=KOLKATA)

    for part in (wording.title, wording.short, wording.text, wording.html):
        assert part.strip()
        assert not re.search(r"\{\{|\{%|\[\[", part)
    assert "\n" not in wording.title
    assert "Anna Rao" in wording.text
    assert "Anna Rao" in wording.html
    assert wording.html.startswith("<!doctype html>")
    assert "<mj-" not in wording.html


def test_every_file_belongs_to_a_template_and_each_template_has_its_files() -> None:
    expected = {f"{name}.{kind}" for name in TEMPLATES for kind in ("mjml", "txt")}

    for language in LANGUAGES:
        files = {file.name for file in (FOLDER / language).iterdir()}
        assert files == expected | {"layout.mjml", "reason.txt", "change.txt"}
    assert {folder.name for folder in FOLDER.iterdir()} == set(LANGUAGES)


def test_each_language_has_its_own_words(writer: Writer) -> None:
    for name in set(TEMPLATES) - {"message"}:
        titles = {
            writer.preview(name, language=language, time_zone=KOLKATA).title
            for language in LANGUAGES
        }
        assert len(titles) == len(LANGUAGES), name


def test_an_unknown_language_falls_back_to_english(writer: Writer) -> None:
    assert writer.preview("welcome", language="nl", time_zone=KOLKATA) == writer.preview(
        "welcome", language="en", time_zone=KOLKATA
    )


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("125000.50", "INR", "₹1,25,000.50"),
        ("500", "JPY", "JP¥500"),
        ("1.250", "BHD", "BHD1.250"),
        ("0.05", "USD", "$0.05"),
    ],
)
def test_amounts_are_written_as_the_region_does_with_iso_decimals(
    writer: Writer, amount: str, currency: str, written: str
) -> None:
    values = {**TEMPLATES["deposit_received"].sample, "amount": amount, "currency": currency}

    title, _ = writer.headline("deposit_received", values, language="en", time_zone=KOLKATA)

    assert title.replace("\xa0", "") == f"{written} deposited"


def test_times_are_those_of_the_reader(writer: Writer) -> None:
    sample = TEMPLATES["new_device"].sample

    _, here = writer.headline("new_device", sample, language="en", time_zone=KOLKATA)
    _, there = writer.headline("new_device", sample, language="en", time_zone="UTC")

    assert "4:00:00" in here
    assert "10:30:00" in there


def test_a_new_device_is_told_with_what_is_known_of_it_and_without(writer: Writer) -> None:
    sample = TEMPLATES["new_device"].sample
    known = {**sample, "device": "Firefox on Windows", "network": "203.0.0.0/16"}
    terms = {"language": "en", "time_zone": KOLKATA, "name": "Anna Rao"}

    told, untold = (writer.write("new_device", values, **terms) for values in (known, sample))

    for text in (told.text, told.html):
        assert "Firefox on Windows" in text
        assert "203.0.0.0/16" in text
    assert "Device: not known" in untold.text


def test_values_never_become_markup(writer: Writer) -> None:
    wording = writer.write(
        "message",
        words_of_message("<script>alert(1)</script> {{ name }} </mj-text>"),
        language="en",
        time_zone=KOLKATA,
        name='<b title="x">Anna</b>',
    )

    assert "<script>" not in wording.html
    assert "<b title" not in wording.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ name }}" in wording.html
    assert "<script>alert(1)</script> {{ name }}" in wording.text


def test_a_subject_stays_on_one_line(writer: Writer) -> None:
    values = {"subject": "News\r\nBcc: everybody@example.com", "text": "x"}

    title, _ = writer.headline("message", values, language="en", time_zone=KOLKATA)

    assert title == "News Bcc: everybody@example.com"


def test_a_missing_value_is_an_error_and_not_a_gap(writer: Writer) -> None:
    with pytest.raises(UndefinedError):
        writer.headline("message", {}, language="en", time_zone=KOLKATA)


def test_an_unknown_template_is_not_found(writer: Writer) -> None:
    with pytest.raises(TemplateNotFound):
        writer.preview("../secrets", language="en", time_zone=KOLKATA)
    with pytest.raises(TemplateNotFound):
        writer.headline("nothing", {}, language="en", time_zone=KOLKATA)


def test_a_region_that_a_language_does_not_know_is_no_obstacle() -> None:
    wording = Writer(region="ZZ").preview("payment_sent", language="hi", time_zone=KOLKATA)

    assert "₹" in wording.title
