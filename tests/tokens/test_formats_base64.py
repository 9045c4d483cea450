"""Two readers of base64url, a quick one where it is installed and the standard library's, are one to whoever calls."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast import BadToken
from holdfast.tokens import compact

_NEAR = st.text("ABCZabcz0189-_+/=. \n\0é*", max_size=24).map(lambda text: text.encode("utf-8"))


def _read(text: bytes) -> bytes | None:
    try:
        return compact.unpack(text)
    except BadToken:
        return None


@given(st.one_of(_NEAR, st.binary(max_size=24), st.binary(max_size=24).map(compact.pack)))
@example(b"ab+d")
@example(b"ab/d")
@example(b"ab=d")
@example(b"abcd==")
@example(b"a\nbc")
@example(b"\xff\xff\xff\xff")
@example(b"AB")
def test_both_readers_give_the_same_or_refuse_the_same(text: bytes) -> None:
    """No byte of a token means something else, or is let pass, by which reader is there."""
    assert compact.pybase64 is not None, "the quick reader is not installed"
    with pytest.MonkeyPatch.context() as patch:
        quick = _read(text)
        patch.setattr(compact, "pybase64", None)
        assert _read(text) == quick


@pytest.mark.parametrize("size", range(70))
def test_both_writers_write_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token looks the same whoever has written it, and comes back as it was."""
    data = os.urandom(size)
    text = compact.pack(data)
    monkeypatch.setattr(compact, "pybase64", None)
    assert compact.pack(data) == text
    assert compact.unpack(text) == data
