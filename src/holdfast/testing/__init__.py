"""What a project that uses Holdfast, or adds a store to it, needs for its own tests. Works without pytest.

`conformance(make_store)` holds a store to the contract of `holdfast.stores.Store`, all of it in one call:

    conformance(lambda: MyStore("my://localhost"))

or one check at a time, as rows of a test runner:

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_my_store(check):
        conformance(lambda: MyStore("my://localhost"), [check])

`FakeClock` is a clock for `Sessions(clock=...)` that only moves when it is told to. Around any store, `Lagging`
shows weak reads an earlier state, `Flaky` fails before or after it has done its work, and `Losing` rolls back what
it had acknowledged: what a store in production does one day, an application's tests can do today.
"""

from .checks import CHECKS
from .clock import FakeClock
from .flaky import Failure, Flaky
from .lagging import Lagging
from .law import Broken, Check
from .losing import Losing
from .suite import NotConforming, conformance

__all__ = [
    "CHECKS",
    "Broken",
    "Check",
    "Failure",
    "FakeClock",
    "Flaky",
    "Lagging",
    "Losing",
    "NotConforming",
    "conformance",
]
