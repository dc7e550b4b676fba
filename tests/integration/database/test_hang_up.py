"""A server that hangs up is noticed at once, also where the event loop tells of it only once (uvloop)."""

import asyncio
import time

import pytest
import uvloop

from penstock.base import errors
from penstock.database import connect
from penstock.servers import endpoints


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_backend_that_dies_with_much_unread_is_noticed_at_once(
    loop: type[asyncio.AbstractEventLoop], postgres_endpoint: endpoints.PostgresEndpoint
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(_seconds_until_noticed(postgres_endpoint.url())) < 5, "only its own deadline told"


async def _seconds_until_noticed(url: str) -> float:
    doomed = await connect.connect(url, application="test", limits=connect.Limits())
    other = await connect.connect(url, application="test", limits=connect.Limits())
    try:
        # The server sleeps in the first statement and has most of the others unread, which makes its end an error.
        doomed.send("select pg_sleep(60)")
        for _ in range(20):
            doomed.send("select length(%s)", ["x" * 5000])
        waiting = asyncio.create_task(doomed.sync(15))
        slept = "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
        while True:
            found = other.send(slept, [doomed.backend_pid])
            await other.sync(5)
            if found.affected:
                break
        begun = time.monotonic()
        other.send("select pg_terminate_backend(%s)", [doomed.backend_pid])
        await other.sync(5)
        with pytest.raises(errors.Unavailable):
            await waiting
        assert doomed.lost
        return time.monotonic() - begun
    finally:
        doomed.close()
        other.close()
