"""What sessions need of Redis: nothing is created there, but some of its settings can lose sessions."""

from __future__ import annotations

import re
from typing import Any

from ..errors import ConfigError
from ..stores import Part
from ..stores._redis_cluster import SLOTS
from ..stores._redis_way import Way

# What the store asks for by itself and in its scripts, and what a connection begins with.
_COMMANDS = (
    "hgetall evalsha eval exists hset hget hmget hdel hincrby del pexpire pttl zadd zrem zrange zremrangebyscore "
    "get set getrange scan dbsize info role ping select hello auth "
    "cluster|slots cluster|getkeysinslot readonly asking"
)


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
    """The line for an ACL file, or for `ACL SETUSER`, of a user who may do what the application does."""
    if form != "acl":
        raise ConfigError(
            f"for Redis there is nothing to print as {form}: there is acl, a user with least rights"
        )
    allowed = " ".join(f"+{command}" for command in _COMMANDS.split())
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix)
    return f"ACL SETUSER holdfast reset on >PASSWORD ~{pattern}* {allowed}\n"


def _settings(nodes: list[dict[str, str]]) -> list[Part]:
    """Managed Redis may not tell of them; INFO is answered where CONFIG is forbidden."""
    policies = {facts.get("maxmemory_policy", "unknown") for facts in nodes}
    logs = {facts.get("aof_enabled", "unknown") for facts in nodes}
    wrong = any(policy.startswith("allkeys-") for policy in policies)
    policy = ", ".join(sorted(policies)) + (
        ": sessions are thrown out when memory is full; set noeviction" if wrong else ""
    )
    kept = {"1": "on", "0": "off: a crash loses what was written since the last snapshot"}
    log = ", ".join(sorted(kept.get(state, "unknown") for state in logs))
    return [
        Part("maxmemory-policy", "wrong" if wrong else "there", policy),
        Part("appendonly", "wrong" if "0" in logs else "there", log),
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
