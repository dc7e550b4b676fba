"""A durable that does not answer is mended, whatever goes wrong meanwhile."""

from penstock.spine import consumer
from penstock.spine.plane import consume
from tests.unit.spine.plane.test_pull import FakeLink
from tests.unit.spine.stage import until


class Standing(FakeLink):
    """One connection, always."""

    connection = 1


async def test_whoever_mends_a_durable_tries_again_whatever_went_wrong() -> None:
    link, failures = Standing(), [ValueError("an answer that nobody understands"), KeyError("config")]

    async def restore(_: object) -> None:
        if failures:
            raise failures.pop()

    policy = consumer.ConsumerPolicy("c", "S", "x.>")
    made = consume.Consumption(link, policy, lambda _: None, window=4, backing=consume.Backing(restore), group="")  # type: ignore[arg-type]
    made._lost("silence")
    await until(lambda: not failures and len(link.asked) == 2)
    await made.close()
