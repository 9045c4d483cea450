"""Sessions in Google Cloud Firestore (native mode), over google-cloud-firestore.

A session that may still be used is a document of the collection; one that has ended, or was sealed by a rotation, is a
document of the same name in a second collection, `<collection>-ended`. To end one is to delete the first and write the
second, at once. So "the document exists", which is what Firestore can check while it writes without having shown the
document before, means "the session has not ended".

Expiry it cannot check like that. A change that is sent without a look relies on what this process has seen: as time is
only ever added to a session, what was alive at the change's time still is. Where time was taken away all the same,
Firestore says so in its answer: then the change is in a record that has expired, where nobody will see it, and is
refused. A change that could bring such a record back (a new expiry) is never sent without a look.
"""

from __future__ import annotations

from typing import Any

from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, Client
from google.cloud.firestore_v1 import types

from ..errors import SessionGone
from ..record import Change, Record, apply, judge
from . import Page, Part
from ._compare_and_set import settle
from ._firestore_documents import (
    Stored,
    adding,
    deleting,
    document_id,
    key_of,
    replacing,
    stored,
    updating,
)
from ._firestore_recent import Recent, Tags
from ._firestore_url import Settings, check_collection
from ._firestore_wire import Call, Wire
from ._options import positive
from ._recent import is_applicable

# What a write is refused with because the document is not as it was thought to be.
_NOT_AS_THOUGHT = (exceptions.AlreadyExists, exceptions.FailedPrecondition, exceptions.NotFound)

_tags = Tags()


class FirestoreStore:
    """A store in the database that `client` is for, in `collection` and in the one of that name with `-ended`.

    `client` is a `google.cloud.firestore.Client`, for sync callers (async ones are sent to a thread), or an
    `AsyncClient`, for async callers on its own event loop; it is for its owner to close. Its retries are not used.
    `timeout` is how many seconds a call takes at most.

    `FirestoreStore.from_url` serves both kinds of callers, and any number of event loops one after the other.

    Raises `ConfigError` for a client of another kind and for what is no collection's name; calls raise
    google.api_core's errors, or ours where those say too little.
    """

    unavailable = (
        exceptions.ServiceUnavailable,
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.Cancelled,
    )
    throttled = (exceptions.ResourceExhausted, exceptions.Aborted)
    max_bytes = 1_000_000
    writes_per_second = 1.0

    def __init__(
        self,
        client: Client | AsyncClient | Settings,
        collection: str = "sessions",
        *,
        timeout: float = 2.0,
    ) -> None:
        self._wire = Wire(client, positive(timeout, "timeout"))
        self._collection = check_collection(collection)
        self._recent = Recent()
        self.colours = self._wire.colours

    @classmethod
    def from_url(cls, url: str) -> FirestoreStore:
        """The store for `firestore://project/collection`.

        Options: `database` (`(default)`), `timeout` (seconds that a call takes at most, 2), `emulator` (host and port
        of an emulator; without it, FIRESTORE_EMULATOR_HOST counts). Raises `ConfigError`. Nothing is connected, and
        no credentials are looked for, before it is used.
        """
        settings = Settings.from_url(url)
        return cls(settings, settings.collection, timeout=settings.timeout)

    async def create(self, key: str, record: Record) -> bool:
        call = await self._wire.begin()
        live, ended = self._names(call, key)
        is_over = record.ended or record.expires_at <= record.created_at
        place, other = (ended, live) if is_over else (live, ended)
        write = replacing(place, record, record.created_at, exists=False)

        async def attempt() -> bool | None:
            try:
                # To delete on condition that there is nothing is the condition alone.
                answer = await call.commit(write, deleting(other, exists=False))
            except exceptions.Aborted:
                return None
            except (exceptions.AlreadyExists, exceptions.FailedPrecondition):
                return False
            self._remember(key, Stored(record, place, answer.write_results[0].update_time))
            return True

        return await settle(attempt)

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        found = await self._find(await self._wire.begin(), key)
        return None if found is None else found.record

    async def commit(self, key: str, change: Change) -> Record:
        call = await self._wire.begin()
        known = self._recent.get(key) if _tags.is_new(change.tag) else None
        if known is not None and not is_applicable(change, known.record):
            known = None
        if known is not None and change.base is None and change.expires_at is None and change.owner is None:
            kept = await self._add(call, key, known, change)
            if kept is not None:
                return kept
            known = None

        async def attempt() -> Record | None:
            nonlocal known
            seen, known = known or await self._find(call, key), None
            applied = judge(None if seen is None else seen.record, change)
            if applied is not None or seen is None:
                return applied
            return await self._replace(call, key, seen, change)

        return await settle(attempt)

    async def end(self, key: str, tombstone: Record) -> None:
        call = await self._wire.begin()
        live, ended = self._names(call, key)
        self._recent.forget(key)

        async def attempt() -> bool | None:
            try:
                await call.commit(replacing(ended, tombstone, tombstone.created_at), deleting(live))
            except exceptions.Aborted:
                return None
            return True

        await settle(attempt)

    async def of(self, owner: str) -> dict[str, Record]:
        call = await self._wire.begin()
        query = _over(self._collection)
        match = query.where.field_filter
        match.field.field_path, match.op, match.value.string_value = "o", _EQUAL, owner
        return {key_of(found.name): stored(found).record for found in await call.query(query)}

    async def scan(self, after: str | None, most: int) -> Page:
        """Some of the records: first of those that may be used, then of those that have ended."""
        call = await self._wire.begin()
        last = after or f"{self._collection}/"
        collection, _, name = last.partition("/")
        query = _over(collection)
        query.order_by.add().field.field_path = "__name__"
        query.limit.value = most
        if name:
            place = query.start_at.values.add()
            place.reference_value = f"{call.root}/{last}"
        found = await call.query(query)
        records = {key_of(document.name): stored(document).record for document in found}
        if len(found) == most:
            return Page(records, found[-1].name.removeprefix(f"{call.root}/"))
        return Page(records, f"{self._ended}/" if collection == self._collection else None)

    async def count(self) -> int:
        call = await self._wire.begin()
        return await call.count(_over(self._collection)) + await call.count(_over(self._ended))

    async def provision(self, *, create: bool) -> list[Part]:
        from ..provision import firestore as provisioning

        return await provisioning.provision(self._wire, self._collection, self._ended, create=create)

    def as_code(self, form: str) -> str:
        from ..provision import firestore as provisioning

        return provisioning.as_code(form, self._wire.database, self._collection, self._ended)

    async def aclose(self) -> None:
        """Close the connections that the store has made itself, those of other event loops excepted."""
        await self._wire.aclose()

    def close(self) -> None:
        """Close the connections that the store has made itself for sync callers."""
        self._wire.close()

    @property
    def _ended(self) -> str:
        return f"{self._collection}-ended"

    def _names(self, call: Call, key: str) -> tuple[str, str]:
        last = document_id(key)
        return f"{call.root}/{self._collection}/{last}", f"{call.root}/{self._ended}/{last}"

    async def _find(self, call: Call, key: str) -> Stored | None:
        live, ended = self._names(call, key)
        document = await call.read(live)
        if document is None:
            self._recent.forget(key)
            document = await call.read(ended)
            return None if document is None else stored(document)
        return self._remember(key, stored(document))

    async def _add(self, call: Call, key: str, known: Stored, change: Change) -> Record | None:
        """Send the change without a look; None if it was refused, so that it takes one."""
        try:
            answer = await call.commit(adding(known.name, change))
        except (exceptions.Aborted, exceptions.NotFound):
            return None
        (result,) = answer.write_results
        version, expires_at = result.transform_results
        if expires_at.double_value <= change.now:
            self._recent.forget(key)
            raise SessionGone("the session has expired")
        if version.integer_value == known.record.version + 1:
            kept = Stored(apply(known.record, change), known.name, result.update_time)
        else:
            # Somebody else has written in between. At the time of this commit the document was what it has made.
            document = await call.read(known.name, at=result.update_time)
            if document is None:
                raise SessionGone("the session has ended")
            kept = stored(document)
        return self._remember(key, kept).record

    async def _replace(self, call: Call, key: str, seen: Stored, change: Change) -> Record | None:
        """Apply the change to exactly what was seen; None if it is not there any more."""
        record, (live, ended) = apply(seen.record, change), self._names(call, key)
        place = ended if record.expires_at <= change.now else live
        if place == seen.name == live:
            writes = [updating(seen, change)]
        elif place == seen.name:
            writes = [replacing(place, record, change.now, update_time=seen.updated)]
        else:
            gone = deleting(seen.name, update_time=seen.updated)
            writes = [replacing(place, record, change.now, exists=False), gone]
        try:
            answer = await call.commit(*writes)
        except (exceptions.Aborted, *_NOT_AS_THOUGHT):
            return None
        return self._remember(key, Stored(record, place, answer.write_results[0].update_time)).record

    def _remember(self, key: str, kept: Stored) -> Stored:
        if kept.name.rsplit("/", 2)[1] == self._collection:
            self._recent.put(key, kept)
        else:
            self._recent.forget(key)
        return kept


_EQUAL = 5  # StructuredQuery.FieldFilter.Operator.EQUAL, without the time that its wrapper takes to load


def _over(collection: str) -> Any:
    query = types.StructuredQuery.pb()()
    query.from_.add().collection_id = collection
    return query
