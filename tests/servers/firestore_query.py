"""Structured queries over one collection, as far as the tests need them: filters, order, cursors, limits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from google.cloud.firestore_v1 import types

from . import firestore_paths as paths
from .firestore_documents import Documents, State
from .firestore_refusals import invalid

_Operator = types.StructuredQuery.FieldFilter.Operator
_DESCENDING = types.StructuredQuery.Direction.DESCENDING
_HERE = "__name__"

Found = tuple[str, State]

# Types in Firestore's order of them ("Value type ordering"); a filter only meets values of its own type.
_ORDER = (
    *("null_value", "boolean_value", "number", "timestamp_value", "string_value", "bytes_value"),
    *("reference_value", "geo_point_value", "array_value", "map_value"),
)


def found(documents: Documents, parent: str, query: Any, at: int | None = None) -> list[Found]:
    """The documents of the query, in its order. Raises `Refusal`."""
    if len(query.from_) != 1 or query.from_[0].all_descendants:
        raise invalid("a query is over one collection")
    root = f"{parent}/{query.from_[0].collection_id}/"
    states = {
        name: documents.state(name, at)
        for name in documents.names()
        if name.startswith(root) and "/" not in name[len(root) :]
    }
    order = [(item.field.field_path, item.direction == _DESCENDING) for item in query.order_by]
    if all(path != _HERE for path, _ in order):
        order.append((_HERE, bool(order) and order[-1][1]))
    matches: Callable[[Found], bool] = functools.partial(_matches, query.where)
    every = [(name, state) for name, state in states.items() if state is not None]
    kept = [
        each for each in every if matches(each) and all(_value(each, path) is not None for path, _ in order)
    ]
    for path, descending in reversed(order):
        kept.sort(key=lambda each, path=path: _rank(_value(each, path)), reverse=descending)  # type: ignore[misc] # mypy cannot infer lambdas with defaults
    if query.HasField("start_at"):
        kept = [each for each in kept if not _is_before(each, query.start_at, order)]
    if query.HasField("end_at"):
        kept = [each for each in kept if _is_before(each, query.end_at, order)]
    kept = kept[query.offset :]
    return kept[: query.limit.value] if query.HasField("limit") else kept


def _matches(where: Any, each: Found) -> bool:
    kind = where.WhichOneof("filter_type")
    if kind is None:
        return True
    if kind == "composite_filter":
        holds = all if where.composite_filter.op == 1 else any
        return holds(_matches(inner, each) for inner in where.composite_filter.filters)
    if kind != "field_filter":
        raise invalid(f"this server has no {kind}")
    field = where.field_filter
    value = _value(each, field.field.field_path)
    if value is None:
        return False
    mine, theirs = _rank(value), _rank(field.value)
    if field.op == _Operator.EQUAL:
        return mine == theirs
    if mine[0] != theirs[0]:
        return False
    return {
        _Operator.LESS_THAN: mine < theirs,
        _Operator.LESS_THAN_OR_EQUAL: mine <= theirs,
        _Operator.GREATER_THAN: mine > theirs,
        _Operator.GREATER_THAN_OR_EQUAL: mine >= theirs,
    }[field.op]


def _value(each: Found, path: str) -> Any | None:
    name, state = each
    if path == _HERE:
        return types.Value.pb()(reference_value=name)
    fields: Any = state.fields
    names = paths.parse_path(path)
    for step in names[:-1]:
        if step not in fields:
            return None
        fields = fields[step].map_value.fields
    return fields.get(names[-1])


def _rank(value: Any) -> tuple[int, Any]:
    kind = value.WhichOneof("value_type")
    if kind in ("integer_value", "double_value"):
        return _ORDER.index("number"), getattr(value, kind)
    held = getattr(value, kind)
    if kind == "reference_value":
        held = [part.encode() for part in held.split("/")]
    elif kind == "string_value":
        held = held.encode()
    elif kind == "timestamp_value":
        held = held.ToNanoseconds()
    elif kind in ("array_value", "map_value", "geo_point_value"):
        held = held.SerializeToString(deterministic=True)
    return _ORDER.index(kind), held


def _is_before(each: Found, cursor: Any, order: list[tuple[str, bool]]) -> bool:
    """Whether the document lies before the cursor, which is before or after all that equal its values."""
    for value, (path, descending) in zip(cursor.values, order, strict=False):
        mine, theirs = _rank(_value(each, path)), _rank(value)
        if mine != theirs:
            return (mine > theirs) if descending else (mine < theirs)
    return not cursor.before
