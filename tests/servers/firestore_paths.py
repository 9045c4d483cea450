"""Field paths, names and sizes by Firestore's rules ("Constraints on field paths", "Storage size calculations")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .firestore_refusals import invalid

Fields = dict[str, Any]  # names to protobuf Values

MAX_DOCUMENT_BYTES = 1_048_576
MAX_NAME_BYTES = 1_500
MAX_DEPTH = 20
MAX_INDEX_ENTRIES = 40_000

_SEGMENT = re.compile(r"([A-Za-z_][A-Za-z_0-9]*)|`((?:[^`\\]|\\.)*)`", re.DOTALL)
_RESERVED = re.compile(r"__.*__", re.DOTALL)


def parse_path(text: str) -> tuple[str, ...]:
    """The names in a field path. Raises `Refusal` if it is none."""
    if len(text.encode()) > MAX_NAME_BYTES:
        raise invalid(f"a field path is longer than {MAX_NAME_BYTES} bytes")
    names, place = [], 0
    while True:
        match = _SEGMENT.match(text, place)
        if match is None:
            raise invalid(f'Invalid property path "{text}"')
        plain, quoted = match.groups()
        name = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
        check_field_name(name)
        names.append(name)
        place = match.end()
        if place == len(text):
            return tuple(names)
        if text[place] != ".":
            raise invalid(f'Invalid property path "{text}"')
        place += 1


def check_field_name(name: str) -> None:
    """Raise `Refusal` for a name that no field may have."""
    if not name:
        raise invalid("field names cannot be empty")
    if _RESERVED.fullmatch(name):
        raise invalid(f'field name "{name}" is reserved')
    if len(name.encode()) > MAX_NAME_BYTES:
        raise invalid(f"a field name is longer than {MAX_NAME_BYTES} bytes")


def check_document_name(name: str, database: str) -> None:
    """Raise `Refusal` for a name that no document in the database can have."""
    root = f"{database}/documents/"
    parts = name.removeprefix(root).split("/")
    if not name.startswith(root) or len(parts) % 2:
        raise invalid(f'"{name}" is no name of a document in {database}')
    for part in parts:
        if part in ("", ".", "..") or _RESERVED.fullmatch(part) or len(part.encode()) > MAX_NAME_BYTES:
            raise invalid(f'"{name}" has a part that is not allowed')


def check_paths_apart(paths: list[tuple[str, ...]]) -> None:
    """Raise `Refusal` if one of the paths is, or lies within, another."""
    known = set(paths)
    if len(known) != len(paths):
        raise invalid("a field path is there twice")
    for path in paths:
        if any(path[:length] in known for length in range(1, len(path))):
            raise invalid(f"the field path {'.'.join(path)} lies within another")


def check_document(name: str, fields: Mapping[str, Any], exempt: frozenset[str]) -> None:
    """Raise `Refusal` for a document that is too large, too deep, or has too many index entries."""
    for field, value in fields.items():
        check_field_name(field)
        _check_value(value, 1)
    size = _name_bytes(name) + 32 + _fields_bytes(fields)
    if size > MAX_DOCUMENT_BYTES:
        raise invalid(
            f"Document '{name}' cannot be written because its size ({size:,} bytes) exceeds the maximum allowed "
            f"size of {MAX_DOCUMENT_BYTES:,} bytes."
        )
    if sum(2 * _leaves(value) for field, value in fields.items() if field not in exempt) > MAX_INDEX_ENTRIES:
        raise invalid("too many index entries for entity")


def _check_value(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise invalid(f"a document is at most {MAX_DEPTH} levels deep")
    if value.HasField("map_value"):
        for name, inner in value.map_value.fields.items():
            check_field_name(name)
            _check_value(inner, depth + 1)
    elif value.HasField("array_value"):
        for inner in value.array_value.values:
            _check_value(inner, depth + 1)


def _leaves(value: Any) -> int:
    if value.HasField("map_value"):
        return sum(_leaves(inner) for inner in value.map_value.fields.values())
    if value.HasField("array_value"):
        return len(value.array_value.values)
    return 1


def _name_bytes(name: str) -> int:
    return 16 + sum(len(part.encode()) + 1 for part in name.split("/documents/", 1)[1].split("/"))


def _fields_bytes(fields: Mapping[str, Any]) -> int:
    return sum(len(name.encode()) + 1 + _value_bytes(value) for name, value in fields.items())


def _value_bytes(value: Any) -> int:
    kind = value.WhichOneof("value_type")
    if kind in ("null_value", "boolean_value"):
        return 1
    if kind == "string_value":
        return len(value.string_value.encode()) + 1
    if kind == "bytes_value":
        return len(value.bytes_value)
    if kind == "reference_value":
        return _name_bytes(value.reference_value)
    if kind == "map_value":
        return _fields_bytes(value.map_value.fields) + 32
    if kind == "array_value":
        return sum(map(_value_bytes, value.array_value.values))
    return 16 if kind == "geo_point_value" else 8
