"""Processes that meet, or do not find together; none of these starts JAX."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxvision.parallel import peers
from jaxvision.types import UserError
from tests.parallel.processes import free_address


def meeting(*processes):
    """Let processes (count, number, seconds, perhaps identity) meet; returns what each got.

    That is the numbers of the others, or the text of the error.
    """
    address = free_address()

    def one(process):
        try:
            found = peers.meet(address, *process)
        except UserError as error:
            return str(error)
        for connection in found.values():
            connection.close()
        return sorted(found)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, processes))


def test_processes_meet_in_any_order():
    assert meeting((3, 2, 10), (3, 0, 10), (3, 1, 10)) == [[0], [1, 2], [0]]


def test_a_missing_process_0_is_one_line():
    (error,) = meeting((2, 1, 0.3))
    assert "no process 0 at 127.0.0.1:" in error


def test_a_missing_process_is_named_to_all():
    first, second = meeting((3, 0, 3), (3, 1, 10))
    assert "process 2 of 3 did not come to 127.0.0.1:" in first
    assert f"did not go on: {first}" in second


def test_of_many_missing_processes_five_are_named():
    (error,) = meeting((60_000, 0, 0.1))
    assert error.startswith("process 1, 2, 3, 4, 5 and 59994 more of 60000 did not come to")


def test_processes_that_would_run_something_else_are_refused_by_all():
    """The first is told by process 0, which names each flag and both values."""
    ours = {"experiment": "he_init", "--learning_rate": "0.1", "--seeds": "5", "code": "1a2b"}
    other = ours | {"--learning_rate": "0.001", "--data_devices": "2"}
    first, second, third = meeting((3, 0, 10, ours), (3, 1, 10, ours), (3, 2, 10, other))
    assert first.startswith(
        "process 2 differs from process 0 in --learning_rate (0.001 there, 0.1 here), "
        "--data_devices (2 there, nothing here): start every process of a run with the same"
    )
    assert second.endswith(f"did not go on: {first}")
    assert third.endswith(f"did not go on: {first}")
    assert meeting((2, 0, 10, ours), (2, 1, 10, dict(ours))) == [[1], [0]]


def test_of_many_differences_three_are_named():
    ours, theirs = ({f"--{name}": value for name in "abcde"} for value in "12")
    told = peers.differences(ours, theirs)
    assert told == "--a (2 there, 1 here), --b (2 there, 1 here), --c (2 there, 1 here), 2 more"
    assert peers.differences(ours, ours) == ""


@pytest.mark.parametrize(("count", "process_id"), [(3, 1), (2, 5), (2, 0)])
def test_numbers_that_do_not_fit_are_refused(count, process_id):
    address = free_address()

    def come():
        with reached(address) as connection:
            connection.sendall(f"jaxvision {process_id} {count} {{}}\n".encode())
            return connection.recv(200)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(peers.meet, address, 2, 0, 10)
        assert pool.submit(come).result().startswith(b"no process")
        with pytest.raises(UserError, match="the same number of processes"):
            first.result()


def test_a_stranger_is_sent_away_and_an_address_in_use_named():
    address = free_address()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(peers.meet, address, 2, 0, 10)
        with reached(address) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\n")
            with pytest.raises(UserError, match=r"cannot listen at 127.0.0.1:.*in use"):
                peers.meet(address, 2, 0, 1)
            second = peers.meet(address, 2, 1, 10)
        assert (first.result().keys(), second.keys()) == ({1}, {0})
        for connection in (first.result()[1], second[0]):
            connection.close()


def reached(address):
    """Connect to who is about to listen."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(address)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def talk_slowly(address, done):
    with reached(address) as stranger, contextlib.suppress(OSError):
        while not done.wait(0.1):
            stranger.sendall(b"j")


def test_a_stranger_who_talks_slowly_does_not_hold_the_others(monkeypatch):
    """He has so long for a line, and not for each of its bytes; nobody longer than the wait."""
    monkeypatch.setattr(peers, "SECONDS_FOR_A_LINE", 0.5)
    address, done = free_address(), threading.Event()
    with ThreadPoolExecutor() as pool:
        first = pool.submit(peers.meet, address, 2, 0, 20)
        pool.submit(talk_slowly, address, done)
        time.sleep(0.2)
        before = time.monotonic()
        second = peers.meet(address, 2, 1, 20)
        assert time.monotonic() - before < 5
        done.set()
        for connection in (first.result()[1], second[0]):
            connection.close()


def test_a_stranger_does_not_make_the_wait_longer():
    address, done = free_address(), threading.Event()
    with ThreadPoolExecutor() as pool:
        before = time.monotonic()
        first = pool.submit(peers.meet, address, 2, 0, 1)
        pool.submit(talk_slowly, address, done)
        with pytest.raises(UserError, match="process 1 of 2 did not come"):
            first.result()
        assert time.monotonic() - before < 3
        done.set()


@pytest.mark.parametrize(
    "hello",
    [
        b"jaxvision 1 2\n",
        b"jaxvision 1 x {}\n",
        b"jaxvision 1 2 []\n",
        b'jaxvision 1 2 {"a": 1}\n',
        b"jaxvision 1 2 {\n",
        b"jaxvision 1 2 " + b"[" * 5000 + b"\n",
        b"\xff\xfe\n",
        b"",
    ],
)
def test_what_is_no_greeting_is_a_stranger_s(hello):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(hello)
        theirs.shutdown(socket.SHUT_WR)
        assert peers._hello(ours, time.monotonic() + 5) is None


def test_who_comes_when_the_run_has_begun_is_told_so():
    """JAX's coordinator then listens at the address, and speaks another language."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        late = pool.submit(peers.meet, listener.getsockname(), 2, 1, 5)
        with listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(b"\x00\x00\x18\x04")
        with pytest.raises(UserError, match="the run has begun without this process"):
            late.result()


def test_a_last_word_is_the_code_and_none_from_the_dead():
    for code in (0, 2, None):
        ours, theirs = socket.socketpair()
        with ours:
            if code is not None:
                peers.tell({1: theirs}, code)
            theirs.close()
            assert peers.last_word(ours) == code
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = time.monotonic()
        peers.await_ends({1: ours}, 0.2)
        assert 0.1 < time.monotonic() - before < 2
