"""Conformance: single messages are removed, and neither their stream nor those who read it take that for a loss."""

import contextlib

from penstock.spine import ports
from penstock.spine.testing.bench import STREAM, Bench, Inbox, rejection, write
from penstock.spine.testing.inspecting import floor_reaches


class Erasing:
    """What is erased is not there, was not there, and leaves its place free."""

    async def test_erased_letters_are_gone_and_all_others_stay_where_they_are(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(1, 8))
        assert await spine.erase(STREAM.name, [2, 4, 4, 7]) == 3
        left = [await spine.message(STREAM.name, place) for place in range(1, 8)]
        assert [found.sequence if found else None for found in left] == [1, None, 3, None, 5, 6, None]
        state = await spine.stream_state(STREAM.name)
        assert state is not None
        assert (state.first, state.last, state.messages) == (1, 7, 4)

    async def test_erasing_twice_and_what_never_was_there_is_fine(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(1, 4))
        assert await spine.erase(STREAM.name, [2]) == 1
        assert await spine.erase(STREAM.name, [2]) == 0
        assert await spine.erase(STREAM.name, [99]) == 0
        assert await spine.erase(STREAM.name, []) == 0
        assert (await rejection(spine.erase("NOWHERE", [1]))).code == "no_stream"

    async def test_the_place_of_the_last_letter_is_not_given_again(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(1, 4))
        before = await spine.stream_state(STREAM.name)
        assert await spine.erase(STREAM.name, [1, 2, 3]) == 3
        empty = await spine.stream_state(STREAM.name)
        assert before is not None
        assert empty is not None
        assert (empty.created, empty.last, empty.messages) == (before.created, 3, 0)
        assert empty.first == 4
        assert await write(spine, [4]) is None
        after = await spine.stream_state(STREAM.name)
        assert after is not None
        assert (after.first, after.last, after.messages) == (4, 4, 1)

    async def test_an_erased_letter_is_delivered_to_nobody(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(1, 6))
        await spine.erase(STREAM.name, [2, 5])
        inbox = Inbox()
        await spine.consume(policy, inbox, window=10)
        await bench.until(lambda: len(inbox) == 3)
        assert inbox.numbers == [1, 3, 4]
        await inbox.ack_all()
        await floor_reaches(bench, spine, policy, 4)
        await bench.expect_backlog(spine, policy.name, 0, 0)

    async def test_whoever_holds_an_erased_letter_holds_nobody_up(self, bench: Bench) -> None:
        spine, policy = await bench.letters()
        await write(spine, range(1, 5))
        inbox = Inbox()
        await spine.consume(policy, inbox, window=2)
        await bench.until(lambda: len(inbox) == 2)
        assert await spine.erase(STREAM.name, [1]) == 1
        await inbox.deliveries[1].ack()
        await bench.until(lambda: len(inbox) >= 3)
        await inbox.deliveries[0].ack()
        await bench.until(lambda: len(inbox) == 4)
        await inbox.ack_all()
        await floor_reaches(bench, spine, policy, 4)
        assert inbox.numbers == [1, 2, 3, 4]

    async def test_who_browses_does_not_see_what_was_erased(self, bench: Bench) -> None:
        spine, _ = await bench.letters(None)
        await write(spine, range(1, 7))
        await spine.erase(STREAM.name, [1, 4])
        found: list[ports.Delivery] = []
        async with contextlib.aclosing(spine.browse(STREAM.name, STREAM.subjects[0], after=0)) as reading:
            async for one in reading:
                found.append(one)
                if one.sequence == 6:
                    break
        assert [one.sequence for one in found] == [2, 3, 5, 6]
