"""The law for stores, one name a line. What each says stands in the docstring of its function.

Every check has random keys of its own and real times, so that it can run on a home that is in use.
"""

from __future__ import annotations

from ..stores import Caches, Owned, Scans, Sweeps
from . import changes, contents, copies, listings, scanning
from .law import Check

CHECKS = (
    Check("put-if-free", changes.put_if_free),
    Check("a-change", changes.a_change),
    Check("parallel-changes", changes.parallel_changes),
    Check("conflict", changes.conflict),
    Check("counting", changes.counting),
    Check("repeat", changes.repeat),
    Check("commit-after-end", changes.commit_after_end),
    Check("commit-after-expiry", changes.commit_after_expiry),
    Check("expired-present", changes.expired_present),
    Check("tombstone", changes.tombstone),
    Check("weak-negative", changes.weak_negative),
    Check("size-limit", contents.size_limit),
    Check("clock-skew", changes.clock_skew),
    Check("odd-keys-and-values", contents.odd_keys_and_values),
    Check("large-versions", contents.large_versions),
    Check("owner-index", listings.owner_index, needs=Owned),
    Check("sweeping", listings.sweeping, needs=Sweeps),
    Check("scanning", scanning.scanning, needs=Scans),
    Check("copies", copies.copies, needs=Caches),
    Check("claims", copies.claims, needs=Caches),
)
