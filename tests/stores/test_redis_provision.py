"""What is said of a Redis's settings, and the user with least rights."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import redis

from holdfast import ConfigError
from holdfast._colour import run
from holdfast.cli import main
from holdfast.provision.redis import as_code, provision
from holdfast.stores import Scans, from_url
from holdfast.stores.redis import RedisStore
from holdfast.testing import CHECKS, conformance
from servers.redis import RedisServer, ValkeyServer
from servers.redis_cluster import RedisCluster
from servers.redis_nodes import client_of
from servers.redis_sentinel import RedisSentinel

AT_RUN_TIME = [
    check for check in CHECKS if check.needs is not Scans
]  # what reads all is for people and pipelines
MOVING = [check for check in CHECKS if check.needs is Scans]
NOT_FOR_APPLICATIONS = (
    ("GET", "other"),
    ("HGETALL", "crm:s:key"),
    ("CONFIG", "GET", "*"),
    ("FLUSHALL",),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("DBSIZE",),
    ("INFO",),
    ("CLUSTER", "GETKEYSINSLOT", "0", "10"),
)


def states(store: RedisStore, *, create: bool = False) -> dict[str, str]:
    """The parts with their states."""
    return {part.name: part.state for part in run(store.provision(create=create))}


def test_settings_that_lose_sessions_are_wrong(redis_server: RedisServer) -> None:
    """Redis that throws anything out, or writes nothing to disk, is told apart from one that keeps sessions."""
    store, client = RedisStore.from_url(redis_server.url), redis.Redis.from_url(redis_server.url)
    fine = {"Redis": "there", "maxmemory-policy": "there", "appendonly": "there"}
    for create in (False, True, True):
        assert states(store, create=create) == fine
    client.config_set("appendonly", "no")
    assert states(store, create=True) == fine | {"appendonly": "wrong"}
    assert client.config_get("appendonly") == {"appendonly": "no"}  # what is there is never changed


@pytest.mark.parametrize("policy", ["volatile-ttl", "volatile-lru", "allkeys-lru", "allkeys-random"])
def test_a_policy_that_throws_sessions_out_is_wrong(redis_server: RedisServer, policy: str) -> None:
    """Whichever it is: every session has an expiry, and so is among what volatile-… throws out."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory-policy", policy)
    store = RedisStore.from_url(redis_server.url)
    assert states(store) == {"Redis": "there", "maxmemory-policy": "wrong", "appendonly": "there"}
    store.close()


def test_what_a_redis_does_not_tell_is_not_said_to_be_right() -> None:
    """A managed one may keep its settings to itself: then it is for people to know them."""

    class Reticent:
        cluster = None

        async def ask(self, *_: object) -> list[bytes]:
            return [b"# Server\r\nredis_version:7.2.4\r\n"]

    parts = run(provision(Reticent()))  # type: ignore[arg-type]  # all that is asked of it
    assert [part.state for part in parts] == ["there", "wrong", "wrong"]
    assert [part.detail.partition(":")[0] for part in parts[1:]] == ["unknown", "unknown"]


def test_a_redis_whose_log_is_not_its_own_can_be_accepted(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipeline goes on where somebody has said that it is all right; and only then."""
    assert main(["provision", "--check", redis_url]) == 1
    assert main(["provision", "--check", redis_url, "--accept", "maxmemory-policy"]) == 1
    assert main(["provision", "--check", redis_url, "--accept", "appendonly"]) == 0
    assert "  accepted appendonly  " in capsys.readouterr().out


def test_the_parts_of_a_cluster_and_of_a_service(
    redis_cluster: RedisCluster, redis_sentinel: RedisSentinel
) -> None:
    """A cluster's slots are counted too."""
    assert states(RedisStore.from_url(redis_cluster.url))["slots"] == "there"
    assert states(RedisStore.from_url(redis_sentinel.url))["Redis"] == "there"


@pytest.mark.parametrize("kind", [RedisServer, ValkeyServer])
def test_what_is_printed_is_an_acl_file(kind: type[RedisServer], tmp_path: Path) -> None:
    """A real server starts on it as it stands; its user passes the whole of the law and may do nothing else."""
    file = tmp_path / "users.acl"
    file.write_text(as_code("acl", "shop:") + as_code("acl", "crm:"))
    with kind(tmp_path, options=("--aclfile", str(file))) as server:
        url = url_for(server, "holdfast-shop:PASSWORD") + "?prefix=shop:"
        conformance(lambda: from_url(url), AT_RUN_TIME)
        refused(server, "holdfast-shop:PASSWORD")


def test_the_user_for_moving_is_off_until_it_is_needed(redis_server: RedisServer) -> None:
    """Then it may do all that stores are held to, and the settings can be checked; but not more."""
    create_users(redis_server)
    with client_of(redis_server) as client:
        assert "off" in client.acl_getuser("holdfast.operator")["flags"]
    url = url_for(redis_server, "holdfast.operator:secret")
    with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()
    switch_on(redis_server)
    conformance(lambda: from_url(url))
    assert states(RedisStore.from_url(url))["Redis"] == "there"
    with redis.Redis.from_url(url) as client:
        for command in (("GET", "other"), ("CONFIG", "GET", "*"), ("FLUSHALL",), ("KEYS", "*")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_users_with_least_rights_are_enough_in_a_cluster(redis_cluster: RedisCluster) -> None:
    """The same there, for changes and weak reads."""
    for node in redis_cluster.nodes:
        create_users(node)
        switch_on(node)
        refused(node, "holdfast:PASSWORD")
    url = redis_cluster.url.replace("://", "://holdfast:PASSWORD@")
    conformance(lambda: from_url(url), AT_RUN_TIME, colour="async")
    url = redis_cluster.url.replace("://", "://holdfast.operator:secret@")
    conformance(lambda: from_url(url), MOVING, colour="async")


def test_the_line_for_a_redis_that_runs_does_the_same(redis_server: RedisServer, tmp_path: Path) -> None:
    """The one in the documentation, as it is typed, but for the server's address."""
    page = (Path(__file__).parents[2] / "docs" / "stores" / "redis.md").read_text()
    (line,) = [line for line in page.splitlines() if "ACL SETUSER" in line and "redis-cli" in line]
    (tmp_path / "users.acl").write_text(as_code("acl", "a[b*:"))
    command = line.replace("redis-cli -h cache", f"redis-cli -p {redis_server.port}")
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["OK", "OK"]
    with client_of(redis_server) as client:
        assert any("~a\\[b\\*:*" in user for user in client.acl_list())


def test_each_prefix_has_a_user_of_its_own() -> None:
    """No two applications on one Redis get the same one, nor one that Redis or somebody else has."""
    prefixes = (
        "holdfast:",
        "holdfast",
        "",
        ":",
        "shop:",
        "shop",
        "shop-a:",
        "shop_a:",
        "shop.a:",
        "shop.operator:",
    )
    prefixes += (
        "default:",
        "holdfast-shop:",
        "holdfast.operator:",
        "x" * 100 + ":",
        "x" * 101 + ":",
        "bücher:",
    )
    users = [line.split()[1] for prefix in prefixes for line in as_code("acl", prefix).splitlines()]
    assert len(set(users)) == 2 * len(prefixes)
    assert all(user.startswith("holdfast") for user in users)
    assert users[:2] == ["holdfast", "holdfast.operator"]
    assert users[8:10] == ["holdfast-shop", "holdfast-shop.operator"]


@pytest.mark.parametrize("prefix", ["my shop:", "a\nuser evil on nopass ~* +@all\n", 'a"b:', "it's:", "a\0"])
def test_a_prefix_that_rules_cannot_name_is_refused(prefix: str) -> None:
    """Rather than that the rights would be for other keys."""
    with pytest.raises(ConfigError, match="ACL rules"):
        as_code("acl", prefix)


def test_other_forms_are_refused(redis_url: str) -> None:
    """The error names the form that there is."""
    with pytest.raises(ConfigError, match="there is acl"):
        RedisStore.from_url(redis_url).as_code("terraform")


def url_for(node: RedisServer, user: str) -> str:
    """The URL with which somebody else comes in."""
    return node.url.replace("://", f"://{user}@")


def create_users(node: RedisServer) -> None:
    """Make the printed users on a Redis that runs."""
    with client_of(node) as client:
        for line in RedisStore.from_url(node.url).as_code("acl").splitlines():
            assert client.execute_command("ACL", "SETUSER", *line.split()[1:])


def switch_on(node: RedisServer) -> None:
    """Let the user for moving in."""
    with client_of(node) as client:
        assert client.execute_command("ACL", "SETUSER", "holdfast.operator", "on", ">secret")


def refused(node: RedisServer, user: str) -> None:
    """See that the application's user may do nothing else."""
    with redis.Redis.from_url(url_for(node, user)) as client:
        for command in NOT_FOR_APPLICATIONS:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)
