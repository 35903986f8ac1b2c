"""Refusals carry a message and details; bugs are loud; seals tell rows apart."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.errors import NotFound, Overloaded, Refusal
from guilder.kernel.invariant import InvariantViolation, invariant
from guilder.kernel.seals import seal, sized, sized_word


def test_a_refusal_has_its_own_message_unless_it_is_given_one():
    assert str(NotFound()) == NotFound.message
    assert str(NotFound("No such cake.", cake="carrot")) == "No such cake."
    assert NotFound("No such cake.", cake="carrot").details == {"cake": "carrot"}


def test_what_is_somebody_elses_is_refused_as_what_is_not_there_and_turns_away():
    there, nowhere = NotFound.of_another(cake="carrot"), NotFound(cake="carrot")

    assert (str(there), there.details) == (str(nowhere), nowhere.details)
    assert (there.turns_away, nowhere.turns_away) == (True, False)


def test_an_overload_says_when_to_come_back():
    assert Overloaded(retry_after_s=7).details == {"retry_after_s": 7}
    assert isinstance(Overloaded(), Refusal)


def test_an_invariant_stops_when_it_is_false():
    invariant(condition=True, message="fine")
    with pytest.raises(InvariantViolation, match="broken"):
        invariant(condition=[], message="broken")


@given(st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=4), st.data())
def test_a_seal_tells_any_two_rows_apart(row: list[str | None], data: st.DataObject):
    other = data.draw(st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=4))

    assert (seal(*row) == seal(*other)) == (row == other)


@given(texts=st.lists(st.one_of(st.none(), st.text(max_size=4), st.text(min_size=300)), max_size=3))
def test_a_seal_is_of_its_texts_one_after_the_other(texts: list[str | None]):
    assert seal(*texts) == sha256(b"".join(map(sized, texts))).digest()
    for text in texts:
        assert text is None or sized_word(text) == sized(text)
