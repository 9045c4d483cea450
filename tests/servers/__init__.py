"""Real servers for the tests, each on a free port of its own, started and ended by the test run itself.

One module a server, with its fixtures (listed in `conftest.py`); `process` is what they have in common. A server
that cannot be started is a failure.
"""
