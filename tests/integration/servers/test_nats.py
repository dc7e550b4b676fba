"""tmp"""
import nats, psycopg
async def test_a(nats_endpoint, fresh_nats):
    c = await nats.connect(nats_endpoint.url_with_credentials())
    js = c.jetstream()
    await js.add_stream(name="A", subjects=["a.>"], max_bytes=4<<30)
    assert (await js.publish("a.b", b"x")).seq == 1
    await c.close()
    assert fresh_nats.url != nats_endpoint.url
async def test_b(fresh_postgres, nats_endpoint):
    async with await psycopg.AsyncConnection.connect(fresh_postgres.url()) as c:
        assert (await (await c.execute("select 1")).fetchone()) == (1,)
