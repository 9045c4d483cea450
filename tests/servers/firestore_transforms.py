"""Field transforms: the server computes a field's value and says what it is."""

from __future__ import annotations

from typing import Any

from google.cloud.firestore_v1 import types

from .firestore_refusals import invalid

_Value = types.Value.pb()
_REQUEST_TIME = 1
_MOST, _LEAST = 2**63 - 1, -(2**63)


def transformed(value: Any | None, transform: Any, at: int) -> tuple[Any, Any]:
    """The field's new value, and what is told of it. `at` is the commit's time in microseconds."""
    kind = transform.WhichOneof("transform_type")
    if kind == "set_to_server_value" and transform.set_to_server_value == _REQUEST_TIME:
        result = _Value()
        result.timestamp_value.FromMicroseconds(at // 1000 * 1000)  # it has milliseconds only
    elif kind == "increment":
        result = _sum(value, transform.increment)
    elif kind in ("maximum", "minimum"):
        result = _extreme(value, getattr(transform, kind), 1 if kind == "maximum" else -1)
    else:
        raise invalid(f"this server has no transform {kind}")
    return result, result


def _sum(value: Any | None, more: Any) -> Any:
    number = _number(more)
    if number is None:
        raise invalid("an increment has to be a number")
    held = None if value is None else _number(value)
    if held is None:
        return more
    if isinstance(held, int) and isinstance(number, int):
        return _Value(integer_value=min(max(held + number, _LEAST), _MOST))  # it does not overflow
    return _Value(double_value=float(held) + float(number))


def _extreme(value: Any | None, other: Any, sign: int) -> Any:
    number = _number(other)
    if number is None:
        raise invalid("a maximum or minimum is one of numbers")
    held = None if value is None else _number(value)
    if held is None:
        return other
    return other if sign * number > sign * held else value


def _number(value: Any) -> int | float | None:
    if value.HasField("integer_value"):
        return int(value.integer_value)
    return float(value.double_value) if value.HasField("double_value") else None
