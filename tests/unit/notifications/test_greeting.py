"""Names in greetings: people's, and those that somebody made up to be read by others."""

from __future__ import annotations

import pytest

from guilder.notifications.domain.greeting import is_greeted_by
from guilder.notifications.domain.preferences import LANGUAGES
from guilder.notifications.service.wording import Writer


@pytest.mark.parametrize(
    "name",
    [
        "Anna",
        "Anna Rao",
        "J.R. Smith",
        "Martin Luther King, Jr.",
        "Siobhán O'Brien-Núñez",
        "अन्ना राव",
        "李小龍",
        "Henry VIII (Tudor)",
        "Louis 14",
    ],
)
def test_people_are_greeted_by_their_names(name: str) -> None:
    assert is_greeted_by(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "You won! Claim at http://evil.example/prize",
        "Claim at evil.example",
        "www. evil",
        "evil@example.com",
        "Call 1800 555 0100",
        "Call +91-98765-43210",
        "<b>Anna</b>",
    ],
)
def test_a_name_that_could_send_its_reader_somewhere_is_left_out(name: str) -> None:
    assert not is_greeted_by(name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_is_not_greeted_by_name_is_greeted(language: str) -> None:
    writer = Writer(region="IN")
    values = {"at": "2026-11-20T10:30:00Z"}

    mails = [
        writer.write("welcome", values, language=language, time_zone="UTC", name=name)
        for name in ("Claim at evil.example", "")
    ]

    assert mails[0] == mails[1]
    assert "evil" not in mails[0].text + mails[0].html
    assert " ," not in mails[0].text
