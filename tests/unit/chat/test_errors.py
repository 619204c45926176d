"""The tree of errors: what each leaf says on both edges."""

from __future__ import annotations

import pytest

from chat import errors
from chat.errors import PabalError


def leaves(root: type[PabalError] = PabalError) -> list[type[PabalError]]:
    return [each for child in root.__subclasses__() for each in (child, *leaves(child))]


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_is_to_both_edges(kind: type[PabalError]) -> None:
    error = kind("because")
    assert (error.reason, str(error)) == ("because", "because")
    assert 400 <= kind.status <= 599
    assert 0x80 <= kind.reason_code <= 0xFF
    assert kind.status >= 500 or not kind.ours, "what the sender did not cause is no client error"
    assert kind("because", code="exact").code == "exact"
    assert kind("because").code == kind.code


def test_codes_are_used_once() -> None:
    codes = [kind.code for kind in leaves()]
    assert len(set(codes)) == len(codes)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    assert all(kind.__name__ in errors.__doc__ for kind in leaves() if kind.__module__ == errors.__name__)
