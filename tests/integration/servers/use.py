"""What tests do with a running installation: keep something in each server, and count what is kept."""

import nats
import psycopg


async def use_nats(url: str) -> int:
    """Publish into a stream; the sequence that the message got."""
    client = await nats.connect(url)
    try:
        stream = client.jetstream()
        await stream.add_stream(name="KEPT", subjects=["kept.>"])
        return (await stream.publish("kept.one", b"x")).seq
    finally:
        await client.close()


def use_postgres(url: str) -> int:
    """Insert a row; how many there are."""
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists kept (id int generated always as identity)")
        connection.execute("insert into kept default values")
        return connection.execute("select count(*) from kept").fetchone()[0]
