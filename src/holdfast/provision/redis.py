"""What sessions need of Redis: nothing is created there, but some of its settings can lose sessions."""

from __future__ import annotations

import re
from typing import Any

from ..errors import ConfigError
from ..stores import Part
from ..stores._redis_cluster import SLOTS
from ..stores._redis_way import Way
from ._names import one_name

# What the store asks for while it serves requests, by itself and in its scripts, and what a connection begins with.
_COMMANDS = (
    "hgetall evalsha eval exists hset hget hmget hdel hincrby del pexpire pttl zadd zrem zrange zremrangebyscore "
    "get set getrange role ping select hello auth cluster|slots readonly asking"
)

# What moving and checking takes besides. Redis keeps none of it to the keys of a pattern: names of others' are seen.
_OPERATING = "scan dbsize info cluster|getkeysinslot"

# ACL rules are words, and have no way to quote a sign that would end one.
_NOT_IN_A_RULE = re.compile(r"[\x00-\x20\x7f\"']")

_LONGEST_NAME = 64


async def provision(way: Way) -> list[Part]:
    """Whether Redis answers, and how it treats what it holds. Raises redis-py's errors."""
    if way.cluster is None:
        (info,) = await way.ask((b"INFO",))
        return [Part("Redis", "there", _version([_facts(info)])), *_settings([_facts(info)])]
    covered = await way.cluster.look()
    nodes = [_facts(info) for (info,) in (await way.cluster.ask_each((b"INFO",))).values()]
    slots = Part("slots", "there" if covered == SLOTS else "wrong", f"{covered} of {SLOTS} have a server")
    return [Part("Redis", "there", _version(nodes)), slots, *_settings(nodes)]


def as_code(form: str, prefix: str) -> str:
    """The lines for an ACL file: a user who may do what the application does, and one for moving and checking.

    The second is off, for it is needed now and then. There may be nothing else in such a file, comments included.
    """
    if form != "acl":
        raise ConfigError(
            f"for Redis there is nothing to print as {form}: there is acl, users with least rights"
        )
    if _NOT_IN_A_RULE.search(prefix):
        raise ConfigError(
            f"prefix={prefix!r} cannot stand in Redis' ACL rules: take one without blanks and quotes"
        )
    name = _user(prefix)
    keys = "~" + re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"
    return (
        f"user {name} reset on >PASSWORD {keys} {_allowed(_COMMANDS)}\n"
        f"user {name}.operator reset off {keys} {_allowed(_COMMANDS)} {_allowed(_OPERATING)}\n"
    )


def _user(prefix: str) -> str:
    """A name that is not in use for something else, and for no other prefix: one without the colon is another."""
    if prefix == "holdfast:":
        return "holdfast"
    parts = [prefix[:-1]] if prefix.endswith(":") else ["", prefix]
    return f"holdfast-{one_name(*parts, longest=_LONGEST_NAME)}"


def _allowed(commands: str) -> str:
    return " ".join(f"+{command}" for command in commands.split())


def _settings(nodes: list[dict[str, str]]) -> list[Part]:
    """Managed Redis may not tell of them; INFO is answered where CONFIG is forbidden."""
    policies = {facts.get("maxmemory_policy", "unknown") for facts in nodes}
    logs = {facts.get("aof_enabled", "unknown") for facts in nodes}
    # Every session has an expiry, so that volatile-* throws them out like allkeys-*.
    policy = ", ".join(sorted(policies)) + (
        "" if policies == {"noeviction"} else ": a full memory throws sessions out, unless it is noeviction"
    )
    kept = {"1": "on", "0": "off: a crash loses what was written since the last snapshot"}
    log = ", ".join(sorted(kept.get(state, "unknown: sessions may be lost in a crash") for state in logs))
    return [
        Part("maxmemory-policy", "there" if policies == {"noeviction"} else "wrong", policy),
        Part("appendonly", "there" if logs == {"1"} else "wrong", log),
    ]


def _version(nodes: list[dict[str, str]]) -> str:
    versions = {
        f"Valkey {facts['valkey_version']}"
        if "valkey_version" in facts
        else facts.get("redis_version", "unknown")
        for facts in nodes
    }
    return "version " + ", ".join(sorted(versions))


def _facts(info: Any) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value for name, sign, value in lines if sign}
