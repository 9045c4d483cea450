"""What Redis does for a `RedisStore`, each as one atomic step: the scripts, in Lua.

`<prefix>s:<key>` is a session's hash, `<prefix>o:<SHA-1 of the owner>` the sorted set of an owner's session
keys by expiry. The fields of a hash are v version, t tag, c created_at, x expires_at, o owner (if it has one),
e (if it has ended) and `=name` for each value. Times are decimal text that Python reads back exactly.

A script is given the session's hash as its only key, and derives the owner's set from what is stored, if the same
Redis holds both. In a cluster it does not touch the set, and there is ENTER for it.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Script(NamedTuple):
    """A script, and the name under which Redis keeps it once it has run."""

    text: bytes
    sha: bytes

    @classmethod
    def of(cls, text: str) -> Script:
        """The script with this text."""
        whole = text.encode()
        return cls(whole, hashlib.sha1(whole, usedforsecurity=False).hexdigest().encode())


# ARGV[1] is the prefix, ARGV[2] the expiry before which the entries of an owner are dead (empty: the set is not to be
# touched), ARGV[3] for how many
# milliseconds the hash is to be kept. No script defines a function: to make one takes as long as a command.
_BEGIN = """
local call, hash, prefix, dead, life = redis.call, KEYS[1], ARGV[1], ARGV[2], ARGV[3]
"""

# Sets the fields in ARGV from first to last, in steps: Lua passes a few thousand at once.
_SET_FIELDS = """
for start = first, last, 1000 do
  call('HSET', hash, unpack(ARGV, start, math.min(start + 999, last)))
end
"""

# Brings the owner's set in line with the hash. held is the owner before, false if there was none.
_LIST = """
if dead ~= '' then
local owner, expires_at, ended = unpack(call('HMGET', hash, 'o', 'x', 'e'))
local session = string.sub(hash, #prefix + 3)
if ended then
  owner = false
end
if held and held ~= owner then
  call('ZREM', prefix .. 'o:' .. redis.sha1hex(held), session)
end
if owner then
  local set, left = prefix .. 'o:' .. redis.sha1hex(owner), call('PTTL', hash)
  call('ZREMRANGEBYSCORE', set, '-inf', '(' .. dead)
  call('ZADD', set, expires_at, session)
  if call('PTTL', set) < left then
    call('PEXPIRE', set, left)
  end
end
end
"""


# ARGV from 4 on: the fields. Returns 1, or 0 if the key is taken.
CREATE = Script.of(f"""{_BEGIN}
if call('EXISTS', hash) == 1 then
  return 0
end
local first, last, held = 4, #ARGV, false
{_SET_FIELDS}
call('PEXPIRE', hash, life)
{_LIST}
return 1
""")

# ARGV from 4 on: the fields. Returns the owner before, if there was one.
END = Script.of(f"""{_BEGIN}
local first, last, held = 4, #ARGV, call('HGET', hash, 'o')
call('DEL', hash)
{_SET_FIELDS}
call('PEXPIRE', hash, life)
{_LIST}
return held or 1
""")

# Enters a session into an owner's set, KEYS[1], or lets its entry live longer. ARGV: the expiry before which entries
# are dead, the session's expiry, its key, for how many milliseconds it is kept.
ENTER = Script.of("""
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
""")

# The verdicts of COMMIT.
GONE, KEPT, CONFLICT = range(3)

# ARGV[2] is empty if expiry and owner stay, ARGV[3] if the expiry does. ARGV from 4 on: now, base or nothing, known
# or nothing, number of fields to remove, "v", the version that follows the known one, "t", tag, the other fields
# to set, those to remove. Returns the verdict, and with KEPT and CONFLICT the hash as it is then.
#
# known is the tag of a record to which the caller has found that the change may be applied. If that is what is
# stored, there is nothing to judge and nothing to tell: returns just 1. To judge and to hand over the hash takes
# Lua three times as long.
COMMIT = Script.of(f"""
if ARGV[6] ~= '' then
  local held = redis.call('HMGET', KEYS[1], 't', 'e')
  if held[1] == ARGV[6] and not held[2] then
    redis.call('HSET', KEYS[1], unpack(ARGV, 8))
    return 1
  end
end
{_BEGIN}
local now, base, tag = ARGV[4], ARGV[5], ARGV[11]
local old_tag, version, old_expiry, over = unpack(call('HMGET', hash, 't', 'v', 'x', 'e'))
if old_tag == tag then
  return {{1, call('HGETALL', hash)}}
end
if not old_tag or over or tonumber(now) >= tonumber(old_expiry) then
  return {{0}}
end
if base ~= '' and base ~= version then
  return {{2, call('HGETALL', hash)}}
end
local held = dead ~= '' and call('HGET', hash, 'o')
local first, last = 10, #ARGV - ARGV[7]
for start = last + 1, #ARGV, 1000 do
  call('HDEL', hash, unpack(ARGV, start, math.min(start + 999, #ARGV)))
end
{_SET_FIELDS}
call('HINCRBY', hash, 'v', 1)
if life ~= '' then
  call('PEXPIRE', hash, life)
end
{_LIST}
return {{1, call('HGETALL', hash)}}
""")
