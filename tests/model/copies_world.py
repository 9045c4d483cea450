"""What the model of the copies can be set to: the rules of the mechanism, and the world that it runs in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """The mechanism. The defaults are what Holdfast does; every other value is a mutant of it.

    - `pin`: pins are set and heeded.
    - `pin_is_short`: the pin lives for the copy age only, and not a tick longer.
    - `one_pin`: an ordinary pin replaces the long one of a response whose cache write failed.
    - `long_pin`: a cache write that could not be confirmed makes the pin outlive the cache's entries.
    - `floor_after_reads`: a read that saw something newer than the floor sets floor and pin.
    - `confirm_reads`: such a read brings the shared cache up to date first.
    - `confirm_local`: so does one that a local copy answered.
    - `absent_floor_is_zero`: a missing floor admits any copy.
    - `tombstones`: an ended session leaves a tombstone in the store; otherwise its record is deleted.
    - `feed`: endings are published in the revoked feed.
    - `put_guard`: a put never replaces a newer entry of the cache.
    - `put_into_empty`: a put fills a place that is empty, or is held by a reader's claim.
    - `put_life`: a put lets the entry live on for as long as what it replaces ("kept"), for the longest life
      counted from its commit or read ("from read"), or for the longest life counted from the put ("full").
    - `claims`: a reader refills the cache only if the claim it took before reading is still there.
    - `age_from_read`: an entry's life counts from the read of the store, and not from the refill.
    - `weak_fills`: weak reads fill local copies and the cache's claims.
    - `pin_outlives_snapshots`: otherwise the pin lives as if there were none.
    - `snapshot_floor`: a snapshot below the floor is not served.
    - `snapshot_age_from_read`: its age counts from the read of the store, and not from when its answer arrives.
    - `snapshot_feed`: an older snapshot than the feed's age is served only if the feed, as it is now, allows it.
    - `feed_outlives_snapshots`: otherwise the feed remembers endings for as long as if there were none.
    """

    pin: bool = True
    pin_is_short: bool = False
    one_pin: bool = False
    long_pin: bool = True
    floor_after_reads: bool = True
    confirm_reads: bool = True
    confirm_local: bool = True
    absent_floor_is_zero: bool = False
    tombstones: bool = True
    feed: bool = True
    put_guard: bool = True
    put_into_empty: bool = False
    put_life: str = "from read"
    claims: bool = True
    age_from_read: bool = True
    weak_fills: bool = False
    pin_outlives_snapshots: bool = True
    snapshot_floor: bool = True
    snapshot_age_from_read: bool = True
    snapshot_feed: bool = True
    feed_outlives_snapshots: bool = True


@dataclass(frozen=True)
class World:
    """What surrounds the mechanism, and how much of it is explored. Times are ticks.

    - `requests`: how many the browser makes; all of them may be under way at once.
    - `writes`: how many versions may be written, the external writer's among them.
    - `external`, `visits`: how many writes and how many reads another device makes.
    - `ends`: an administrator may end the session.
    - `local`, `cache`, `weak`: which homes of copies there are.
    - `snapshot_life`: the browser carries snapshots that live so long; 0: none.
    - `copy_age` (D), `cache_life` (L), `feed_age` (r), `lag` (of the replica; None: without bound).
    - `in_order`: the browser waits for each response before its next request.
    - `commits_fill`: a commit leaves a local copy on its instance.
    - `cache_fails`, `evicts`, `kills`, `loses_cookies`, `loses_pin_alone`, `feed_fails`,
      `loses_answers`: what may go wrong, any time.
    - `cold`, `warm`: the run may begin without any copies, or with copies everywhere.
    """

    requests: int = 3
    writes: int = 2
    external: int = 0
    visits: int = 0
    ends: bool = False
    instances: int = 2
    local: bool = False
    cache: bool = False
    weak: bool = False
    snapshot_life: int = 0
    copy_age: int = 1
    cache_life: int = 3
    feed_age: int = 1
    lag: int | None = 1
    in_order: bool = False
    commits_fill: bool = True
    cache_fails: bool = True
    evicts: bool = True
    kills: bool = True
    loses_cookies: bool = True
    loses_pin_alone: bool = False
    feed_fails: bool = False
    loses_answers: bool = True
    cold: bool = True
    warm: bool = True

    @property
    def oldest(self) -> int:
        """How old a copy may be that nobody brings up to date: D, or the life of snapshots."""
        return max(self.copy_age, self.snapshot_life)

    @property
    def longest_life(self) -> int:
        """For how long a copy may be behind the store: that of the cache's entries, if there is a cache, and more."""
        return self.oldest + (self.cache_life if self.cache else 0)
