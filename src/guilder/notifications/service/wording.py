"""Puts notices into words: templates in a person's language, amounts and times as it writes them.

A template is two files: ``<name>.txt`` with the blocks title, short and text, and ``<name>.mjml``
with what stands in the middle of a mail. MJML is made into HTML once, before any value is filled
in, so what a value holds can never become markup.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import jinja2
import mrml
from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_datetime
from msgspec import Struct

from guilder.kernel.currencies import CURRENCIES
from guilder.notifications.api import TemplateNotFound
from guilder.notifications.domain.greeting import is_greeted_by
from guilder.notifications.domain.notices import TEMPLATES, Values
from guilder.notifications.domain.preferences import LANGUAGES

_FOLDER: Final = Path(__file__).resolve().parents[1] / "templates"
_CONTENT: Final = "[[content]]"
_SHOWN_OF_AN_ID: Final = 6
_ANYBODY: Final = {"en": "there", "hi": "ग्राहक"}
"""How somebody is greeted who is not greeted by name."""


class Wording(Struct, frozen=True, kw_only=True):
    """A notice in words. ``short`` is for small screens, ``text`` and ``html`` for mails."""

    title: str
    short: str
    text: str
    html: str


class Writer:
    """Writes notices. ``region`` decides how a language writes numbers (India: 1,25,000.50)."""

    def __init__(self, *, region: str) -> None:
        self._region = region
        loader = jinja2.FileSystemLoader(_FOLDER)
        self._plain = jinja2.Environment(
            loader=loader,
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # noqa: S701 - plain text: escaping would show
            auto_reload=False,
        )
        self._html = jinja2.Environment(
            loader=loader, undefined=jinja2.StrictUndefined, autoescape=True, auto_reload=False
        )
        self._mails: dict[tuple[str, str], jinja2.Template] = {}

    def headline(
        self, template: str, values: Values, *, language: str, time_zone: str
    ) -> tuple[str, str]:
        """The title and the short text, which name nobody.

        Raises:
            TemplateNotFound: no template has this name.
        """
        found = self._text(template, language)
        words = self._in_words(values, language=language, time_zone=time_zone)
        return _line(_block(found, "title", words)), _block(found, "short", words)

    def write(
        self, template: str, values: Values, *, language: str, time_zone: str, name: str
    ) -> Wording:
        """The whole notice, to somebody called ``name``, if one is greeted by such a name.

        Raises:
            TemplateNotFound: no template has this name.
        """
        found = self._text(template, language)
        words = self._in_words(values, language=language, time_zone=time_zone)
        words["name"] = name if is_greeted_by(name) else _ANYBODY[_spoken(language)]
        title, short = _line(_block(found, "title", words)), _block(found, "short", words)
        html = self._mail(template, language).render(words | {"title": title, "short": short})
        return Wording(title=title, short=short, text=_block(found, "text", words), html=html)

    def preview(self, template: str, *, language: str, time_zone: str) -> Wording:
        """The notice as it looks with the template's example.

        Raises:
            TemplateNotFound: no template has this name.
        """
        if template not in TEMPLATES:
            raise TemplateNotFound
        sample = TEMPLATES[template].sample
        return self.write(template, sample, language=language, time_zone=time_zone, name="Anna Rao")

    def _text(self, template: str, language: str) -> jinja2.Template:
        if template not in TEMPLATES:
            raise TemplateNotFound
        return self._plain.get_template(f"{_spoken(language)}/{template}.txt")

    def _mail(self, template: str, language: str) -> jinja2.Template:
        key = (template, _spoken(language))
        if key not in self._mails:
            folder = _FOLDER / key[1]
            layout = (folder / "layout.mjml").read_text(encoding="utf-8")
            content = (folder / f"{template}.mjml").read_text(encoding="utf-8")
            html = mrml.to_html(layout.replace(_CONTENT, content)).content
            self._mails[key] = self._html.from_string(html)
        return self._mails[key]

    def _in_words(self, values: Values, *, language: str, time_zone: str) -> dict[str, str]:
        """The values, with amounts, times and ids as people of this language read them."""
        locale = _locale(_spoken(language), self._region)
        words = dict(values)
        if "amount" in values:
            words["amount"] = _amount(values["amount"], values["currency"], locale)
        if "at" in values:
            moment = datetime.fromisoformat(values["at"])
            words["at"] = format_datetime(
                moment, "medium", tzinfo=ZoneInfo(time_zone), locale=locale
            )
        for name, value in values.items():
            if name.endswith("wallet_id"):
                words[name.removesuffix("_id")] = f"…{value[-_SHOWN_OF_AN_ID:]}"
        return words


def _spoken(language: str) -> str:
    return language if language in LANGUAGES else LANGUAGES[0]


@lru_cache(maxsize=64)
def _locale(language: str, region: str) -> Locale:
    try:
        return Locale.parse(f"{language}_{region}")
    except UnknownLocaleError:
        return Locale.parse(language)


def _amount(text: str, code: str, locale: Locale) -> str:
    """An amount with the decimals that ISO 4217 gives its currency; Unicode's differ for some."""
    pattern = copy.copy(locale.currency_formats["standard"])
    exponent = CURRENCIES[code].exponent
    pattern.frac_prec = (exponent, exponent)
    written: str = pattern.apply(Decimal(text), locale, currency=code, currency_digits=False)
    return written


def _block(template: jinja2.Template, name: str, words: Mapping[str, str]) -> str:
    return "".join(template.blocks[name](template.new_context(dict(words)))).strip()


def _line(text: str) -> str:
    """One line, as a subject has to be, whatever a value holds."""
    return " ".join(text.split())
