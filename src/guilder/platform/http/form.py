"""Reads forms as OAuth sends them (RFC 6749, appendix B): URL-encoded UTF-8, each field once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from guilder.kernel.errors import BadRequest, ValidationFailed
from guilder.platform.http.query import read_query

FORM_TYPE: Final = "application/x-www-form-urlencoded"
_TYPE: Final = re.compile(rf"{FORM_TYPE}\s*(;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)


def read_form(body: bytes, *, content_type: str) -> Mapping[str, str]:
    """The fields of a form by name. One that was sent without a value counts as not sent.

    Raises:
        BadRequest: it is not a form, a field is there twice, or it cannot be decoded.
    """
    if _TYPE.fullmatch(content_type.strip()) is None:
        raise BadRequest(f"The body has to be {FORM_TYPE}.")
    try:
        fields = read_query(body)
    except ValidationFailed:
        raise BadRequest("The body has a field twice.") from None
    except BadRequest:
        raise BadRequest("The body could not be read as a form.") from None
    return {name: value for name, value in fields.items() if value}
