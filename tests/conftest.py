"""Fixtures for every test: those of the real servers stand in `servers`, with what they start."""

pytest_plugins = [
    "servers.cosmos",
    "servers.dynamodb",
    "servers.firestore",
    "servers.memcached",
    "servers.postgres",
    "servers.redis",
    "servers.redis_cluster",
    "servers.redis_sentinel",
]
