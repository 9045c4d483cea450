"""How long items stay in memcached, as it wants to be told."""

from __future__ import annotations

import math
import time

# A record stays for so long after it has expired, for requests whose clock is behind.
MARGIN_SECONDS = 60.0

# Up to here memcached counts from now, and beyond it from the epoch, in a signed integer of 32 bits.
_RELATIVE_SECONDS = 30 * 86400
_LAST_SECOND = 2**31 - 1


def expire_after(seconds: float) -> int:
    """When an item may go that has to stay for so many seconds."""
    whole = math.ceil(max(seconds, MARGIN_SECONDS))
    return whole if whole <= _RELATIVE_SECONDS else min(int(time.time()) + whole, _LAST_SECOND)


def expire_before(seconds: float) -> int:
    """When an item goes that must not stay longer than so many seconds, which memcached counts in whole ones."""
    whole = max(int(seconds), 1)  # 0 would be for ever
    return whole if whole <= _RELATIVE_SECONDS else min(int(time.time()) + whole, _LAST_SECOND)
