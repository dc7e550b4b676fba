"""The suite that every transport of the spine passes: inherit it in a test class, or await `check_spine`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager

from penstock.spine.testing.administering import Administering
from penstock.spine.testing.bench import Bench
from penstock.spine.testing.browsing import Browsing
from penstock.spine.testing.consuming import Consuming
from penstock.spine.testing.erasing import Erasing
from penstock.spine.testing.inspecting import Inspecting
from penstock.spine.testing.key_values import KeyValues
from penstock.spine.testing.outages import Outages
from penstock.spine.testing.owning import Owning
from penstock.spine.testing.publishing import Publishing
from penstock.spine.testing.sharing import Sharing
from penstock.spine.testing.signalling import Signalling


class SpineConformance(
    Publishing, Consuming, Sharing, Owning, Browsing, Administering, Inspecting, Erasing, Signalling, KeyValues, Outages
):
    """Every promise of `spine.ports.Spine` as a test. A subclass provides the fixture `bench`, fresh for each test."""


async def check_spine(open_bench: Callable[[], AbstractAsyncContextManager[Bench]]) -> AsyncGenerator[str]:
    """Run the whole suite without a test framework; yields the name of each test that passed.

    Raises AssertionError, or whatever the transport raised, for the first that did not.
    """
    suite = SpineConformance()
    for name in sorted(name for name in dir(suite) if name.startswith("test_")):
        async with open_bench() as bench:
            await getattr(suite, name)(bench)
        yield name
