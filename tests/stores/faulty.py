"""Stores that break one rule each, for showing that the conformance suite notices."""

from __future__ import annotations

import time
import unicodedata

from holdfast import _colour
from holdfast.errors import Conflict, SessionGone
from holdfast.record import Change, Record, apply, judge, merge
from holdfast.stores import Page
from holdfast.stores.memory import MemoryStore


class Faulty(MemoryStore):
    """A sound store, with the steps of a commit where a fault can take the place of each."""

    async def commit(self, key: str, change: Change) -> Record:
        with self._lock:
            record = self._records.get(key)
            if (applied := self.judge(record, change)) is not None:
                return applied
            changed = self.apply(record, change)
            self._put(key, changed, change.now)
            return changed

    def judge(self, record: Record | None, change: Change) -> Record | None:
        return judge(record, change)

    def apply(self, record: Record | None, change: Change) -> Record:
        assert record is not None
        return apply(record, change)

    def put(self, key: str, record: Record) -> None:
        with self._lock:
            self._put(key, record, time.time())


class CreateOverwrites(Faulty):
    async def create(self, key: str, record: Record) -> bool:
        self.put(key, record)
        return True


class CreateOverwritesTombstones(Faulty):
    async def create(self, key: str, record: Record) -> bool:
        if key in self._records and self._records[key].ended:
            self.put(key, record)
            return True
        return await super().create(key, record)


class CreateLooksFirst(Faulty):
    async def create(self, key: str, record: Record) -> bool:
        if await self.load(key) is not None:
            return False
        await _colour.pause(0.01)
        self.put(key, record)
        return True


class CommitLooksFirst(Faulty):
    async def commit(self, key: str, change: Change) -> Record:
        record = await self.load(key)
        if (applied := judge(record, change)) is not None:
            return applied
        await _colour.pause(0.01)
        changed = self.apply(record, change)
        self.put(key, changed)
        return changed


class CommitReplacesAllValues(Faulty):
    def apply(self, record: Record | None, change: Change) -> Record:
        return super().apply(record, change)._replace(values=dict(change.set))


class CommitChangesInPlace(Faulty):
    def apply(self, record: Record | None, change: Change) -> Record:
        assert record is not None
        assert isinstance(record.values, dict)
        merged = merge(record.values, change)
        record.values.clear()
        record.values.update(merged)
        return super().apply(record, change)._replace(values=record.values)


class CommitForgetsTheOwner(Faulty):
    def apply(self, record: Record | None, change: Change) -> Record:
        return super().apply(record, change)._replace(owner=change.owner)


class BaseIsIgnored(Faulty):
    def judge(self, record: Record | None, change: Change) -> Record | None:
        return super().judge(record, change._replace(base=None))


class ConflictCarriesAnEmptyRecord(Faulty):
    def judge(self, record: Record | None, change: Change) -> Record | None:
        try:
            return super().judge(record, change)
        except Conflict as conflict:
            raise Conflict(conflict.current._replace(created_at=0.0)) from None


class RepeatIsAppliedAgain(Faulty):
    def judge(self, record: Record | None, change: Change) -> Record | None:
        return super().judge(record, change._replace(tag=b""))


class CommitCreates(Faulty):
    async def commit(self, key: str, change: Change) -> Record:
        if await self.load(key) is None:
            now = change.now
            await self.create(key, Record(0, b"", {}, change.owner, now, now + 3600))
        return await super().commit(key, change)


class CommitRevives(Faulty):
    def judge(self, record: Record | None, change: Change) -> Record | None:
        return super().judge(None if record is None else record._replace(ended=False), change)


class ExpiryIsIgnored(Faulty):
    def judge(self, record: Record | None, change: Change) -> Record | None:
        return super().judge(record, change._replace(now=-1.0))


class ExpiryIsLateByAMoment(Faulty):
    def judge(self, record: Record | None, change: Change) -> Record | None:
        if record is not None and record.expires_at == change.now:
            change = change._replace(now=change.now - 1)
        return super().judge(record, change)


class ExpiryIsJudgedByTheStoresClock(Faulty):
    def judge(self, record: Record | None, change: Change) -> Record | None:
        return super().judge(record, change._replace(now=max(change.now, time.time())))


class EarlierClocksLose(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self._latest = 0.0

    def apply(self, record: Record | None, change: Change) -> Record:
        if change.now < self._latest - 1:
            change = change._replace(set={}, unset=frozenset())
        self._latest = max(self._latest, change.now)
        return super().apply(record, change)


class ExpiredIsHidden(Faulty):
    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        record = await super().load(key, weak=weak)
        return None if record is None or (record.expires_at <= time.time() and not record.ended) else record


class SealsVanish(Faulty):
    """As where the engine's own expiry takes what is long over, at once."""

    async def commit(self, key: str, change: Change) -> Record:
        sealed = await super().commit(key, change)
        if sealed.expires_at < 0:
            with self._lock:
                del self._records[key]
        return sealed


class EndDeletes(Faulty):
    async def end(self, key: str, tombstone: Record) -> None:
        with self._lock:
            if key in self._records:
                self._remove(key)


class EndNeedsARecord(Faulty):
    async def end(self, key: str, tombstone: Record) -> None:
        if key in self._records:
            await super().end(key, tombstone)


class EndKeepsTheValues(Faulty):
    async def end(self, key: str, tombstone: Record) -> None:
        record = await self.load(key)
        await super().end(key, tombstone if record is None else tombstone._replace(values=record.values))


class WeakMissIsRemembered(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self._missed: set[str] = set()

    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        record = await super().load(key)
        if weak and record is None:
            self._missed.add(key)
        return None if key in self._missed else record


class LargeValuesAreCut(Faulty):
    async def load(self, key: str, *, weak: bool = False) -> Record | None:
        record = await super().load(key)
        if record is None:
            return None
        return record._replace(values={name: value[: 1 << 20] for name, value in record.values.items()})


class NamesAreNormalised(Faulty):
    async def create(self, key: str, record: Record) -> bool:
        values = {unicodedata.normalize("NFC", name): value for name, value in record.values.items()}
        return await super().create(key, record._replace(values=values))


class EmptyValuesAreDropped(Faulty):
    async def create(self, key: str, record: Record) -> bool:
        values = {name: value for name, value in record.values.items() if value}
        return await super().create(key, record._replace(values=values))


class VersionsAreDoubles(Faulty):
    def apply(self, record: Record | None, change: Change) -> Record:
        changed = super().apply(record, change)
        return changed._replace(version=int(float(changed.version - 1) + 1))


class TimesAreWholeSeconds(Faulty):
    def apply(self, record: Record | None, change: Change) -> Record:
        changed = super().apply(record, change)
        return changed if change.expires_at is None else changed._replace(expires_at=int(changed.expires_at))


class IndexKeepsTheEnded(Faulty):
    async def end(self, key: str, tombstone: Record) -> None:
        record = await self.load(key)
        await super().end(key, tombstone)
        if record is not None and record.owner is not None:
            self._keys_of.setdefault(record.owner, set()).add(key)

    async def of(self, owner: str) -> dict[str, Record]:
        return {key: record._replace(ended=False) for key, record in (await super().of(owner)).items()}


class IndexMissesALogin(Faulty):
    async def of(self, owner: str) -> dict[str, Record]:
        return {key: record for key, record in (await super().of(owner)).items() if record.version == 1}


class SweepTakesTheLiving(Faulty):
    async def sweep(self, now: float) -> int:
        return await super().sweep(now + 7200)


class SweepLeavesTombstones(Faulty):
    async def sweep(self, now: float) -> int:
        graves = {key: record for key, record in self._records.items() if record.ended}
        swept = await super().sweep(now)
        for key, grave in graves.items():
            self.put(key, grave)
        return swept


class SweepTakesSealsAtOnce(Faulty):
    async def sweep(self, now: float) -> int:
        seals = [key for key, record in self._records.items() if record.expires_at < 0]
        for key in seals:
            self._remove(key)
        return len(seals) + await super().sweep(now)


class SweepLeavesSeals(Faulty):
    async def sweep(self, now: float) -> int:
        seals = {key: record for key, record in self._records.items() if record.expires_at < 0}
        swept = await super().sweep(now)
        for key, seal in seals.items():
            self.put(key, seal)
        return swept


class SweepDoesNotCount(Faulty):
    async def sweep(self, now: float) -> int:
        await super().sweep(now)
        return 0


class ScanSkipsOneBetweenPages(Faulty):
    async def scan(self, after: str | None, most: int) -> Page:
        records, following = await super().scan(after, most)
        if after is not None and len(records) > 1:
            records.pop(next(iter(records)))
        return Page(records, following)


class ScanEndsEarly(Faulty):
    async def scan(self, after: str | None, most: int) -> Page:
        return Page((await super().scan(after, most)).records, None)


class ScanMissesWhatChanges(Faulty):
    async def scan(self, after: str | None, most: int) -> Page:
        records, following = await super().scan(after, most)
        return Page({key: record for key, record in records.items() if record.version == 1}, following)


class ScanKeepsItsPlaceToItself(Faulty):
    """A cursor of the connection, say: what it is given to go on from, it has forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self._cursor = "~"

    async def scan(self, after: str | None, most: int) -> Page:
        page = await super().scan(None if after is None else self._cursor, most)
        self._cursor = page.after or "~"
        return Page(page.records, None if page.after is None else f"cursor {page.after}")


class ScanNeverEnds(Faulty):
    async def scan(self, after: str | None, most: int) -> Page:
        page = await super().scan(after, most)
        return Page(page.records, page.after or "0")


class ScanPlacesHaveControlCharacters(Faulty):
    async def scan(self, after: str | None, most: int) -> Page:
        page = await super().scan(None if after is None else after[1:], most)
        return Page(page.records, None if page.after is None else "\0" + page.after)


class ScanShowsTheEndedAsLive(Faulty):
    async def scan(self, after: str | None, most: int) -> Page:
        records, following = await super().scan(after, most)
        return Page({key: record._replace(ended=False) for key, record in records.items()}, following)


class MissingIsNoError(Faulty):
    async def commit(self, key: str, change: Change) -> Record:
        try:
            return await super().commit(key, change)
        except SessionGone:
            return Record(1, change.tag, dict(change.set), None, change.now, change.now)


class OlderCopyReplacesNewer(Faulty):
    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        place = self._place(key)
        if place is None or place.rank < 0:
            return await super().put_copy(key, rank, data, life)
        with self._lock:
            self._fill(key, rank, data, life)
        return True


class RanksAreDoubles(Faulty):
    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        place = self._place(key)
        if place is None or place.rank < 0 or float(place.rank) > float(rank):
            return await super().put_copy(key, rank, data, life)
        with self._lock:
            self._fill(key, rank, data, life)
        return True


class EqualRanksKeepTheFirst(Faulty):
    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        place = self._place(key)
        return (place is not None and place.rank == rank) or await super().put_copy(key, rank, data, life)


class PutFillsAnEmptyPlace(Faulty):
    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        if self._place(key) is not None:
            return await super().put_copy(key, rank, data, life)
        with self._lock:
            self._fill(key, rank, data, life)
        return True


class PutTakesTheClaimsPlace(Faulty):
    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        place = self._place(key)
        if place is None or place.rank >= 0:
            return await super().put_copy(key, rank, data, life)
        with self._lock:
            self._fill(key, rank, data, life)
        return True


class ClaimsAreNotChecked(Faulty):
    async def fill_copy(self, key: str, claim: bytes, rank: int, data: bytes, life: float) -> bool:
        with self._lock:
            self._fill(key, rank, data, life)
        return True


class ClaimsAreCopies(Faulty):
    async def get_copy(self, key: str) -> bytes | None:
        place = self._place(key)
        return None if place is None else place.data


class ClaimsKeepCopiesOut(Faulty):
    async def put_copy(self, key: str, rank: int, data: bytes, life: float) -> bool:
        place = self._place(key)
        if place is not None and place.rank < 0:
            return False
        return await super().put_copy(key, rank, data, life)


class EveryClaimHolds(Faulty):
    async def claim_copy(self, key: str, claim: bytes, life: float) -> bool:
        await super().claim_copy(key, claim, life)
        return True
