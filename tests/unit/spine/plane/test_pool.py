"""Which servers are tried, in which order, and whose certificate each must show."""

import collections

import pytest

from penstock.spine.plane import pool
from penstock.spine.plane.pool import Pool, Server


def places(found):
    return [str(server) for server in found]


def test_the_list_is_shuffled_once():
    told = [f"nats://h{n}:4222" for n in range(8)]
    made = Pool(told)
    assert made.candidates() == made.candidates()
    assert sorted(places(made.candidates())) == [f"h{n}:4222" for n in range(8)]
    firsts = collections.Counter(str(Pool(told).candidates()[0]) for _ in range(400))
    assert len(firsts) == 8


def test_the_one_that_we_come_from_is_tried_last():
    made = Pool(["nats://a:1", "nats://b:2", "nats://c:3"])
    order = made.candidates()
    assert made.candidates(after=order[0]) == [*order[1:], order[0]]
    assert made.candidates(after=order[2]) == order
    assert made.candidates(after=Server("gone", 1)) == order


def test_what_a_server_names_is_learned_once_and_forgotten_when_it_is_named_no_more():
    made = Pool(["nats://a:1"])
    (informer,) = made.candidates()
    made.learn(["b:2", "b:2", "a:1", "nonsense", "c:port", "[::1", "d:0", ":5", "[::1]:6"], informer=informer)
    assert sorted(places(made.candidates())) == ["[::1]:6", "a:1", "b:2"]
    made.learn([], informer=informer)
    assert len(made) == 3
    learned = next(server for server in made.candidates() if server.host == "b")
    made.learn(["e:5"], informer=learned)
    assert sorted(places(made.candidates())) == ["a:1", "b:2", "e:5"]
    made.learn(["e:5"], informer=informer)
    assert sorted(places(made.candidates())) == ["a:1", "e:5"]


def test_no_server_makes_us_believe_in_thousands():
    made = Pool(["nats://a:1"])
    made.learn([f"h{n}:1" for n in range(5000)], informer=made.candidates()[0])
    assert len(made) == 1 + pool.LEARNED_LIMIT


@pytest.mark.parametrize(
    ("place", "alike", "name"),
    [
        ("10.0.0.2:1", False, "nats.example"),
        ("[::2]:1", False, "nats.example"),
        ("b.example:1", False, "b.example"),
        ("b.example:1", True, "nats.example"),
    ],
)
def test_a_learned_server_must_show_a_certificate_that_nobody_else_has(place, alike, name):
    made = Pool(["tls://nats.example:4222"])
    made.learn([place], informer=made.candidates()[0], alike=alike)
    (found,) = [server for server in made.candidates() if server.host != "nats.example"]
    assert found.tls_name == name


def test_what_was_named_in_clear_shows_its_own_certificate_once_it_is_named_in_tls():
    made = Pool(["tls://nats.example:4222"])
    informer = made.candidates()[0]
    for alike, name in ((True, "nats.example"), (False, "b.example"), (True, "nats.example")):
        made.learn(["b.example:1"], informer=informer, alike=alike)
        assert [server.tls_name for server in made.candidates() if server.host == "b.example"] == [name]
    assert len(made) == 2


def test_what_we_were_told_ourselves_keeps_its_own_name():
    made = Pool(["tls://a.example:1", "tls://b.example:1"])
    made.learn(["b.example:1"], informer=Server("a.example", 1, "a.example"), alike=True)
    assert sorted(server.tls_name for server in made.candidates()) == ["a.example", "b.example"]
