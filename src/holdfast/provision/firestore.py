"""What a Firestore database needs for sessions: that it is there, which fields have no index, and what is deleted when.

Firestore makes collections by itself; the rest is settings of their fields, which its Admin API has.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.api_core import exceptions
from google.cloud.firestore_admin_v1 import types
from google.cloud.firestore_admin_v1.services.firestore_admin import (
    FirestoreAdminAsyncClient,
    FirestoreAdminClient,
)
from google.cloud.firestore_admin_v1.services.firestore_admin.transports import (
    FirestoreAdminGrpcAsyncIOTransport,
    FirestoreAdminGrpcTransport,
)

from .. import deadline
from ..errors import ConfigError
from ..stores import Part
from ..stores._firestore_wire import Wire
from . import _firestore_code as code

_TTL = "ttl"
_OWNER = "o"

# Of these no query asks. Without an exemption each value would have two entries in indexes: most of what a write
# takes, and, for what only ever grows, one place in an index that all writes meet in.
UNINDEXED = ("d", "t", "v", "c", "x")

# The record of an ended session is not looked up by its owner.
UNINDEXED_ENDED = (*UNINDEXED, _OWNER, "e")


class _Setting(NamedTuple):
    """A setting of one field."""

    kind: str  # "index", "exemption" (no index), or "ttl" (no index, and a TTL policy)
    collection: str
    field: str

    @property
    def name(self) -> str:
        return f"{self.kind} {self.collection}.{self.field}"


async def provision(wire: Wire, collection: str, ended: str, *, create: bool) -> list[Part]:
    """What the store needs of the database, each with its state; made first where it is missing and `create`.

    A setting that was made takes effect after some minutes, for which nobody waits.
    """
    admin = _Admin(wire)
    if not await admin.has_database():
        detail = (
            "create it in native mode, in a location near the application: gcloud firestore databases create"
        )
        return [Part(f"database {wire.database}", "missing", detail)]
    parts = [Part(f"database {wire.database}", "there")]
    for setting in _settings(collection, ended):
        part = await admin.part(setting)
        if create and part.state == "missing":
            await admin.make(setting)
            part = part._replace(state="made")
        parts.append(part)
    return parts


def as_code(form: str, database: str, collection: str, ended: str) -> str:
    """The same as code: a shell script for gcloud, or Terraform."""
    exempt = [(item.collection, item.field) for item in _settings(collection, ended) if item.kind != "index"]
    _, project, _, name = database.split("/")
    if form == "gcloud":
        return code.gcloud(project, name, exempt, (collection, ended))
    if form == "terraform":
        return code.terraform(project, name, exempt, (collection, ended))
    raise ConfigError(f"there is no {form} for Firestore: the forms are gcloud and terraform")


def _settings(collection: str, ended: str) -> list[_Setting]:
    return [
        _Setting("index", collection, _OWNER),
        _Setting("ttl", collection, _TTL),
        _Setting("ttl", ended, _TTL),
        *(_Setting("exemption", collection, field) for field in UNINDEXED),
        *(_Setting("exemption", ended, field) for field in UNINDEXED_ENDED),
    ]


class _Admin:
    """Firestore's Admin API, over the connection that the store has."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._database = wire.database

    async def has_database(self) -> bool:
        try:
            await self._ask("get_database", types.GetDatabaseRequest(name=self._database))
        except exceptions.NotFound:
            return False
        return True

    async def part(self, setting: _Setting) -> Part:
        """The setting with its state."""
        field = await self._ask("get_field", types.GetFieldRequest(name=self._name(setting)))
        indexes, inherited = field.index_config.indexes, field.index_config.uses_ancestor_config
        if setting.kind == "index":
            detail = "an ascending index, for listing by owner"
            right = any(_serves(index) for index in indexes)
        else:
            detail = "no index"
            right = not indexes and not inherited
        if right or inherited:
            missing = not right
        else:
            return Part(setting.name, "wrong", detail)
        if setting.kind == "ttl":
            detail = "no index, and a TTL policy, by which Firestore deletes what has long ended"
            if not types.Field.pb(field).HasField("ttl_config"):
                missing = True
            elif field.ttl_config.state == types.Field.TtlConfig.State.NEEDS_REPAIR:
                return Part(setting.name, "wrong", "a TTL policy that works: disable it, and enable it again")
        return Part(setting.name, "missing" if missing else "there", detail)

    async def make(self, setting: _Setting) -> None:
        """Ask for the setting. It takes effect later."""
        field = types.Field(name=self._name(setting), index_config=types.Field.IndexConfig())
        masked = ["index_config"]
        if setting.kind == "index":
            field.index_config.indexes = [_ascending(setting.field)]
        elif setting.kind == "ttl":
            field.ttl_config = types.Field.TtlConfig()
            masked.append("ttl_config")
        await self._ask("update_field", types.UpdateFieldRequest(field=field, update_mask={"paths": masked}))

    async def _ask(self, method: str, request: Any) -> Any:
        seconds = deadline.limit(self._wire.timeout)
        api = await self._wire.api(seconds)
        channel = api.client.transport.grpc_channel
        admin: Any
        if api.awaited:
            admin = FirestoreAdminAsyncClient(transport=FirestoreAdminGrpcAsyncIOTransport(channel=channel))
        else:
            admin = FirestoreAdminClient(transport=FirestoreAdminGrpcTransport(channel=channel))
        answer = getattr(admin, method)(request=request, retry=None, timeout=seconds, metadata=api.metadata)
        return await answer if api.awaited else answer

    def _name(self, setting: _Setting) -> str:
        return f"{self._database}/collectionGroups/{setting.collection}/fields/{setting.field}"


def _ascending(field: str) -> Any:
    order = types.Index.IndexField.Order.ASCENDING
    fields = [types.Index.IndexField(field_path=field, order=order)]
    return types.Index(query_scope=types.Index.QueryScope.COLLECTION, fields=fields)


def _serves(index: Any) -> bool:
    collection = index.query_scope == types.Index.QueryScope.COLLECTION
    return collection and any(field.order == types.Index.IndexField.Order.ASCENDING for field in index.fields)
