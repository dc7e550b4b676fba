"""One connection to Postgres, driven as a pipeline: many statements out, one wake-up when their answers are in.

psycopg connects and converts values; between the two, libpq's pipeline is driven by the event loop directly (a reader
that stays registered, one future per round trip) instead of a cursor, a lock and two readiness futures per statement.
`docs/adr/0003-one-wire-per-connection.md` has the measurements. Protocol: PostgreSQL 18, section 32.5 (Pipeline Mode).
"""

import asyncio
import collections
import select
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
from psycopg import abc, pq
from psycopg.adapt import PyFormat, Transformer

from penstock.base import errors
from penstock.database import failure, statement

PREPARE_AFTER: Final = 2
"""A statement is prepared at its second use on a connection."""

PREPARED_MOST: Final = 200

_OK: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Answer:
    """What came back for one statement; readable after the `sync` that followed it."""

    __slots__ = ("_loads", "prepares", "result")

    def __init__(self, loads: abc.Transformer, prepares: bytes = b"") -> None:
        self._loads = loads
        self.prepares = prepares
        self.result: pq.abc.PGresult | None = None

    @property
    def failed(self) -> bool:
        """The statement did not run to its end."""
        return self.result is None or self.result.status not in _OK

    @property
    def affected(self) -> int:
        """How many rows the statement wrote or returned."""
        return (self._good().command_tuples or 0) if self.result is not None else 0

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows returned, as Python values."""
        result = self._good()
        self._loads.set_pgresult(result, format=pq.Format.BINARY)
        try:
            return self._loads.load_rows(0, result.ntuples, tuple)
        except psycopg.Error as error:
            raise errors.Broken("bad_value", "Python has no value for what Postgres returned") from error

    def _good(self) -> pq.abc.PGresult:
        if self.result is None or self.failed:
            raise errors.Broken("answer_unread", "an answer was read before its round trip, or after an error")
        return self.result


class Wire:
    """One connection. Not for concurrent use: one owner sends, then waits for `sync`."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], on_lost: Callable[["Wire"], None]) -> None:
        self._connection, self._libpq = connection, connection.pgconn
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._expected: collections.deque[Answer | asyncio.Future[None]] = collections.deque()
        self._round: list[Answer] = []
        self._partial: pq.abc.PGresult | None = None
        self._dumps, self._loads = Transformer(connection), Transformer(connection)
        self._prepared: collections.OrderedDict[tuple[bytes, Any], int | bytes] = collections.OrderedDict()
        self._serial = 0
        self._writing = False
        self.lost = False
        self.round_trips = 0
        self._libpq.nonblocking = 1
        self._libpq.enter_pipeline_mode()
        self._socket = self._libpq.socket
        self._loop.add_reader(self._socket, self._readable)

    @property
    def idle(self) -> bool:
        """Nothing is on its way."""
        return not self._expected and not self._round

    @property
    def backend_pid(self) -> int:
        """The process id of the server's side."""
        return self._libpq.backend_pid

    def send(self, sql: str, values: Sequence[Any] = ()) -> Answer:
        """Queue a statement (`%s` marks each value). Nothing needs to be on the network before `sync`."""
        if self.lost:
            raise failure.away("the connection to the database was lost")
        text = statement.numbered(sql)
        try:
            dumped = self._dumps.dump_sequence(values, (PyFormat.AUTO,) * len(values)) if values else ()
        except (psycopg.DataError, UnicodeEncodeError):
            raise failure.unstorable() from None
        except psycopg.Error as error:
            raise errors.Broken("bad_value", f"a value that Postgres has no type for: {error}") from None
        try:
            return self._send(text, dumped, self._dumps.types if values else (), self._dumps.formats if values else ())
        except psycopg.OperationalError:
            self._lose()
            raise failure.away("the connection to the database was lost") from None

    def _send(self, text: bytes, dumped: Any, types: Any, formats: Any) -> Answer:
        name = self._name((text, types))
        if name is None:
            self._libpq.send_query_params(text, dumped, types, formats, pq.Format.BINARY)
        else:
            self._libpq.send_query_prepared(name, dumped, formats, pq.Format.BINARY)
        return self._expect(b"")

    def _name(self, key: tuple[bytes, Any]) -> bytes | None:
        """The prepared statement to use, made just now when this use is the one that pays for it."""
        seen = self._prepared.pop(key, 0)
        if isinstance(seen, int):
            seen += 1
            if seen >= PREPARE_AFTER:
                self._serial += 1
                seen = b"s%d" % self._serial
                self._libpq.send_prepare(seen, key[0], key[1])
                self._expect(seen)
        self._prepared[key] = seen
        if len(self._prepared) > PREPARED_MOST:
            _, oldest = self._prepared.popitem(last=False)
            if isinstance(oldest, bytes):
                self._libpq.send_close_prepared(oldest)
                self._expect(b"")
        return seen if isinstance(seen, bytes) else None

    def _expect(self, prepares: bytes) -> Answer:
        answer = Answer(self._loads, prepares)
        self._expected.append(answer)
        self._round.append(answer)
        return answer

    async def sync(self, timeout_s: float) -> None:
        """One round trip: everything queued is sent, answered and known. Raises the first error among the answers.

        Raises Unavailable when the connection is lost or time is over; it cannot be used again then.
        """
        if self.lost:
            raise failure.away("the connection to the database was lost")
        answers, self._round = self._round, []
        done: asyncio.Future[None] = self._loop.create_future()
        try:
            self._libpq.pipeline_sync()
            self._expected.append(done)
            self.round_trips += 1
            self._flush()
        except psycopg.OperationalError:
            self._lose()
            raise failure.away("the connection to the database was lost") from None
        timer = self._loop.call_later(timeout_s, _expire, done)
        try:
            await done
        except BaseException:
            self._lose()
            raise
        finally:
            timer.cancel()
        for answer in answers:
            if answer.failed:
                raise self._failed(answers, answer)

    def _failed(self, answers: list[Answer], first: Answer) -> errors.PenstockError:
        """Forget what was not prepared after all; say what the first failure means."""
        missing = {answer.prepares for answer in answers if answer.prepares and answer.failed}
        for key in [key for key, name in self._prepared.items() if name in missing]:
            del self._prepared[key]
        error = failure.of_result(first.result) if first.result is not None else failure.away()
        if error.code == "plan_stale":
            self._lose()
        return error

    def _readable(self) -> None:
        was_waiting = bool(self._expected)
        try:
            self._read()
            # uvloop tells once that the peer hung up with something of ours unread, and then never calls again: what
            # the peer said last must not hide that. A round that was answered whole needs no look.
            if (self._expected or not was_waiting) and _hung_up(self._socket):
                while not self.lost:
                    self._read()
        except psycopg.OperationalError:
            self._lose()

    def _read(self) -> None:
        """Take in what is there. Raises psycopg.OperationalError at the end of the connection."""
        self._libpq.consume_input()
        while not self._libpq.is_busy():
            result = self._libpq.get_result()
            if result is None:
                if self._partial is None:
                    break
                if not self._expected or not isinstance(answer := self._expected[0], Answer):
                    # Every statement has its answer, so this is the server ending the session (FATAL).
                    self._lose()
                    return
                self._expected.popleft()
                answer.result, self._partial = self._partial, None
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                done = self._expected.popleft()
                if isinstance(done, asyncio.Future) and not done.done():
                    done.set_result(None)
            else:
                self._partial = result
        if self._libpq.status == pq.ConnStatus.BAD:
            self._lose()

    def _flush(self) -> None:
        """Write what is queued; what the socket does not take now is written when it can."""
        left = self._libpq.flush()
        if left and not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket, self._writable)
        elif not left and self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket)

    def _writable(self) -> None:
        try:
            self._flush()
        except psycopg.OperationalError:
            self._lose()

    def _lose(self) -> None:
        """The connection is over; whoever waits for it is told once."""
        if self.lost:
            return
        self.lost = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._libpq.finish()
        for expected in self._expected:
            if isinstance(expected, asyncio.Future) and not expected.done():
                expected.set_exception(failure.away("the connection to the database was lost"))
        self._expected.clear()
        self._on_lost(self)

    def close(self) -> None:
        """Hang up. What was not committed is rolled back by the server."""
        self._lose()


def _hung_up(socket: int) -> bool:
    """Whether the other side of a connection is gone, whatever it said before."""
    look = select.poll()
    look.register(socket, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in look.poll(0))


def _expire(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_exception(errors.Unavailable("database_slow", "the database did not answer in time", after_s=1.0))
