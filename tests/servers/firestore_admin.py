"""The part of Firestore's Admin API that provisioning needs: a database is there, a field's index and TTL settings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import grpc
from google.cloud.firestore_admin_v1 import types
from google.longrunning.operations_pb2 import Operation

from .firestore_refusals import Refusal, invalid

_Field = types.Field.pb()
_Index = types.Index.pb()
_Database = types.Database.pb()


class Administration:
    """The settings of the databases with these ids, of whatever project."""

    def __init__(self, databases: Collection[str]) -> None:
        self._databases = databases
        self._fields: dict[str, Any] = {}

    def check_database(self, name: str) -> None:
        """Raise `Refusal` unless there is a database of this name: `projects/<project>/databases/<id>`."""
        parts = name.split("/")
        if len(parts) != 4 or parts[0] != "projects" or parts[2] != "databases":
            raise invalid(f'"{name}" is no name of a database')
        if parts[3] not in self._databases:
            raise Refusal(
                grpc.StatusCode.NOT_FOUND, f"The database {parts[3]} does not exist for project {parts[1]}"
            )

    def exempt(self, collection: str) -> frozenset[str]:
        """The fields of the collection, in whatever database, that have no index."""
        marks = f"/collectionGroups/{collection}/fields/"
        return frozenset(
            name.rsplit("/", 1)[1]
            for name, field in self._fields.items()
            if marks in name and field.HasField("index_config") and not field.index_config.indexes
        )

    def get_database(self, request: Any) -> Any:
        self.check_database(request.name)
        return _Database(name=request.name, type_=types.Database.DatabaseType.FIRESTORE_NATIVE)

    def get_field(self, request: Any) -> Any:
        return self._shown(request.name)

    def update_field(self, request: Any) -> Any:
        name, masked = request.field.name, list(request.update_mask.paths)
        if not masked or not set(masked) <= {"index_config", "ttl_config"}:
            raise invalid("the mask has to name index_config or ttl_config")
        self._shown(name)  # refuses what is no field
        field = self._fields.setdefault(name, _Field(name=name))
        for part in masked:
            field.ClearField(part)
            if request.field.HasField(part):
                getattr(field, part).CopyFrom(getattr(request.field, part))
        if field.HasField("ttl_config"):
            field.ttl_config.state = types.Field.TtlConfig.State.ACTIVE
        operation = Operation(name=f"{name.split('/collectionGroups/')[0]}/operations/1", done=True)
        operation.response.Pack(field)
        return operation

    def _shown(self, name: str) -> Any:
        """The field's settings, with the indexes that it has by default where nobody has said otherwise."""
        database, _, rest = name.partition("/collectionGroups/")
        self.check_database(database)
        if len(rest.split("/")) != 3 or rest.split("/")[1] != "fields":
            raise invalid(f'"{name}" is no name of a field')
        shown = _Field(name=name)
        if name in self._fields:
            shown.CopyFrom(self._fields[name])
        ancestor = f"{database}/collectionGroups/__default__/fields/*"
        if not shown.HasField("index_config"):
            shown.index_config.uses_ancestor_config = True
            path = name.rsplit("/", 1)[1]
            for kind in ({"order": 1}, {"order": 2}, {"array_config": 1}):
                fields = [_Index.IndexField(field_path=path, **kind)]
                shown.index_config.indexes.append(_Index(query_scope=1, fields=fields, state=2))
        shown.index_config.ancestor_field = ancestor
        return shown
