"""The law for stores that can be read from one end to the other."""

from __future__ import annotations

from typing import Any

from .law import change, expect, fresh, same

_RECORDS = 25
_PAGE = 7


async def scanning(store: Any) -> None:
    """`scan` meets every record that is there all the while, whatever is done to it, and can go on from any page."""
    untouched = dict(fresh(owner="ann" if number % 2 else None) for number in range(_RECORDS))
    changed, ended, born = (dict(fresh() for _ in range(_PAGE)) for _ in range(3))
    for key, record in {**untouched, **changed, **ended}.items():
        await store.create(key, record)
    expect(await store.count() >= 0, "the number of records is told")

    met: dict[str, Any] = {}
    behind: set[str] = set()  # what the first two pages have shown
    resume = None
    after, places = None, set[str]()
    while True:
        page = await store.scan(after, _PAGE)
        met.update(page.records)
        after = page.after
        if after is None:
            break
        expect(after.isprintable(), "a place to go on from is text without control characters")
        expect(after not in places, "a scan comes to an end")
        places.add(after)
        if len(places) == 1:
            for key in changed:
                await store.commit(key, change(set={"n": b"1"}))
            for (key, record), (young, newborn) in zip(ended.items(), born.items(), strict=True):
                await store.end(key, record._replace(version=2, values={}, ended=True))
                await store.create(young, newborn)
        if len(places) <= 2:
            behind, resume = set(met), after
    for key, record in untouched.items():
        same(met.get(key), record, "every record is met as it is")
    expect(met.keys() >= changed.keys(), "a record that changes meanwhile is met all the same")

    # Another instance, later, goes on from a place that was noted.
    rest: set[str] = set()
    while resume is not None:
        page = await store.scan(resume, 1000)
        rest.update(page.records)
        resume = page.after
    expect(
        behind | rest >= untouched.keys() | changed.keys(), "going on from a place misses nothing after it"
    )

    key, record = next(iter(untouched.items()))
    await store.end(key, record._replace(version=2, values={}, ended=True))
    after = None
    while True:
        page = await store.scan(after, 1000)
        expect(key not in page.records or page.records[key].ended, "what has ended is not shown as live")
        after = page.after
        if after is None:
            return
