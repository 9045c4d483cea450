"""How the tests make the stores that are held to the law: one module an engine.

Each has `BLOCKING` and `AWAITED`, from a row's name to a function that takes pytest's request (for the fixtures of
servers) and returns the factory for `holdfast.testing.conformance`. The rows of `BLOCKING` are tried in both
colours, those of `AWAITED` are stores on async clients only.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.stores import Store

Factory = Callable[[], Store]
Maker = Callable[[pytest.FixtureRequest], Factory]
