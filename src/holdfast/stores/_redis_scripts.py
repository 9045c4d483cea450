"""What Redis does for a `RedisStore`, each as one atomic step: the scripts, in Lua.

`<prefix>s:<key>` is a session's hash, `<prefix>o:<SHA-1 of the owner>` the sorted set of an owner's session
keys by expiry. The fields of a hash are v version, t tag, c created_at, x expires_at, o owner (if it has one),
e (if it has ended) and `=name` for each value. Times are decimal text that Python reads back exactly.

A script is given the session's hash as its only key, and derives the owner's set from what is stored: the same
Redis holds both.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Script(NamedTuple):
    """A script, and the name under which Redis keeps it once it has run."""

    text: bytes
    sha: bytes


# ARGV[1] is the prefix, ARGV[2] the expiry before which the entries of an owner are dead, ARGV[3] for how many
# milliseconds the hash is to be kept.
_COMMON = """
local hash, prefix, dead, life = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

-- One command with the arguments from first to last, in steps: Lua passes a few thousand at once.
local function each(command, first, last)
  for start = first, last, 1000 do
    redis.call(command, hash, unpack(ARGV, start, math.min(start + 999, last)))
  end
end

-- Brings the owner's set in line with the hash. held is the owner before, false if there was none.
local function list(held)
  local owner, expires_at, ended = unpack(redis.call('HMGET', hash, 'o', 'x', 'e'))
  local session = string.sub(hash, #prefix + 3)
  if ended then
    owner = false
  end
  if held and held ~= owner then
    redis.call('ZREM', prefix .. 'o:' .. redis.sha1hex(held), session)
  end
  if owner then
    local set, left = prefix .. 'o:' .. redis.sha1hex(owner), redis.call('PTTL', hash)
    redis.call('ZREMRANGEBYSCORE', set, '-inf', '(' .. dead)
    redis.call('ZADD', set, expires_at, session)
    if redis.call('PTTL', set) < left then
      redis.call('PEXPIRE', set, left)
    end
  end
end
"""


def _script(text: str) -> Script:
    whole = (_COMMON + text).encode()
    return Script(whole, hashlib.sha1(whole, usedforsecurity=False).hexdigest().encode())


# ARGV from 4 on: the fields. Returns 1, or 0 if the key is taken.
CREATE = _script("""
if redis.call('EXISTS', hash) == 1 then
  return 0
end
each('HSET', 4, #ARGV)
redis.call('PEXPIRE', hash, life)
list(false)
return 1
""")

# ARGV from 4 on: the fields.
END = _script("""
local held = redis.call('HGET', hash, 'o')
redis.call('DEL', hash)
each('HSET', 4, #ARGV)
redis.call('PEXPIRE', hash, life)
list(held)
return 1
""")

# The verdicts of COMMIT.
GONE, KEPT, CONFLICT = range(3)

# ARGV[3] is empty if the expiry stays. ARGV from 4 on: tag, now, base or nothing, number of fields to remove,
# these, the fields to set. Returns the verdict, and with KEPT and CONFLICT the hash as it is then.
COMMIT = _script("""
local tag, now, base, removed = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local old_tag, version, expires_at, ended, owner = unpack(redis.call('HMGET', hash, 't', 'v', 'x', 'e', 'o'))
if old_tag == tag then
  return {1, redis.call('HGETALL', hash)}
end
if not old_tag or ended or tonumber(now) >= tonumber(expires_at) then
  return {0}
end
if base ~= '' and base ~= version then
  return {2, redis.call('HGETALL', hash)}
end
each('HDEL', 8, 7 + removed)
each('HSET', 8 + removed, #ARGV)
redis.call('HINCRBY', hash, 'v', 1)
if life ~= '' then
  redis.call('PEXPIRE', hash, life)
end
if life ~= '' or redis.call('HGET', hash, 'o') ~= owner then
  list(owner)
end
return {1, redis.call('HGETALL', hash)}
""")
