"""How a `RedisStore` holds copies: `<prefix>c:<key>` is a string, with what Redis does for it in scripts.

The string begins with `=` and the copy's rank in 20 decimal digits, followed by its data, or with `?`, followed by
a claim. Ranks are compared as text of equal length, since Lua's numbers are doubles. Redis lets go of the string
when its life is over.
"""

from __future__ import annotations

from ._redis_scripts import Script

_HEAD_BYTES = 21


def head(rank: int) -> bytes:
    """What stands before the data of a copy of this rank."""
    return b"=%020d" % rank


def claimed(claim: bytes) -> bytes:
    """The string that is a claim."""
    return b"?" + claim


def data_of(held: bytes | None) -> bytes | None:
    """The data of the copy in what Redis holds, if it is a copy."""
    return held[_HEAD_BYTES:] if held is not None and held.startswith(b"=") else None


# ARGV: the head, the data, the life in milliseconds.
PUT = Script.of("""
local held = redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
local kind = string.sub(held, 1, 1)
if kind == '?' then
  redis.call('DEL', KEYS[1])
elseif kind == '=' and held <= ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
end
return 1
""")

# ARGV: the head, the data, the life in milliseconds, the claim's string. Returns whether the claim was there.
FILL = Script.of("""
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[4]) ~= ARGV[4] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1
""")
