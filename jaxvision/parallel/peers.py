"""Connections between the processes of one run: who has come, who is gone, who leaves and why.

Each process holds one connection to process 0. JAX has its own, but where a process is missing it
aborts with a C++ stack or waits for minutes; a closed connection is noticed at once.

The first line on a connection says who comes and what it is about to run: processes that differ
would train on together without a word, or wait for one another without end.
"""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Iterable

from jaxvision.types import UserError

Peers = dict[int, socket.socket]  # by process number
Identity = dict[str, str]  # what all processes of a run have in common: name -> value

SECONDS_FOR_A_LINE = 5.0  # whoever connects to process 0 and says less is a stranger
LONGEST_LINE = 1 << 16  # bytes


def meet(
    address: tuple[str, int],
    count: int,
    process_id: int,
    wait_seconds: float,
    identity: Identity | None = None,
) -> Peers:
    """Return the connections once all ``count`` processes have come to ``address``.

    Process 0 listens there, and there alone, and gets a connection to every other; they get one to
    process 0. The address is free again afterwards.

    Raises:
      UserError: somebody did not come in time, the numbers do not fit together, or a process has
        another ``identity`` than process 0.
    """
    deadline = time.monotonic() + wait_seconds
    identity = identity or {}
    if process_id == 0:
        peers = _gather(address, count, deadline, identity)
    else:
        peers = {0: _report(address, count, process_id, deadline, identity)}
    for connection in peers.values():
        connection.settimeout(None)
        # The kernel then notices a host that vanished without a word, within half a minute.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return peers


def differences(ours: Identity, theirs: Identity) -> str:
    """Return in words what differs, and both values; "" where nothing does."""
    names = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
    told = [
        f"{name} ({theirs.get(name, 'nothing')} there, {ours.get(name, 'nothing')} here)"
        for name in names[:3]
    ]
    if len(names) > len(told):
        told.append(f"{len(names) - len(told)} more")
    return ", ".join(told)


def last_word(connection: socket.socket) -> int | None:
    """Wait until the other process leaves; returns the code it gave, None if it just vanished."""
    try:
        return next(iter(connection.recv(1)), None)
    except OSError:
        return None


def tell(peers: Peers, code: int) -> None:
    """Say with which code this process leaves."""
    for connection in peers.values():
        with contextlib.suppress(OSError):
            connection.sendall(bytes([code]))


def await_ends(peers: Peers, seconds: float) -> None:
    """Wait until the others have closed their ends, not longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    for connection in peers.values():
        with contextlib.suppress(OSError):
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            while connection.recv(1):
                pass


def _gather(address: tuple[str, int], count: int, deadline: float, identity: Identity) -> Peers:
    place = f"{address[0]}:{address[1]}"
    peers: Peers = {}
    identities: dict[int, Identity] = {}
    greeted: list[socket.socket] = []
    with _listen(address, count) as listener, contextlib.ExitStack() as opened:
        try:
            while len(peers) < count - 1:
                connection = opened.enter_context(_accept(listener, place, count, peers, deadline))
                hello = _hello(connection, deadline)
                if hello is None:
                    connection.close()  # a stranger
                    continue
                greeted.append(connection)
                peer, its_count, identities[peer] = hello
                if its_count != count or peer in peers or not 0 < peer < count:
                    raise UserError(
                        f"process {peer} of {its_count} came to process 0 of {count}: all must "
                        "name the same number of processes, and each its own number"
                    )
                peers[peer] = connection
            _compare(identity, identities)
        except UserError as error:
            _send(greeted, f"no {error}\n")
            raise
        _send(greeted, "go\n")
        opened.pop_all()  # stay open
    return peers


def _listen(address: tuple[str, int], count: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=min(count, 1024))
    except OSError as error:
        place = f"{address[0]}:{address[1]}"
        raise UserError(f"cannot listen at {place}: {error.strerror}") from error


def _accept(
    listener: socket.socket, place: str, count: int, peers: Peers, deadline: float
) -> socket.socket:
    listener.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        return listener.accept()[0]
    except TimeoutError:
        missing = (str(i) for i in range(1, count) if i not in peers)
        named = ", ".join(itertools.islice(missing, 5))
        more = count - 1 - len(peers) - 5
        others = f" and {more} more" if more > 0 else ""
        raise UserError(f"process {named}{others} of {count} did not come to {place}") from None


def _hello(connection: socket.socket, deadline: float) -> tuple[int, int, Identity] | None:
    """Return the number, the number of processes and the identity it says; None: a stranger."""
    until = min(deadline, time.monotonic() + SECONDS_FOR_A_LINE)
    words = _line(connection, until).split(" ", 3)
    if len(words) < 4 or words[0] != "jaxvision":
        return None
    try:
        identity = json.loads(words[3])
        numbers = int(words[1]), int(words[2])
    except (ValueError, RecursionError):
        return None
    if not isinstance(identity, dict) or not all(isinstance(v, str) for v in identity.values()):
        return None
    return *numbers, identity


def _compare(ours: Identity, identities: dict[int, Identity]) -> None:
    for peer, theirs in identities.items():
        if differ := differences(ours, theirs):
            raise UserError(
                f"process {peer} differs from process 0 in {differ}: start every process of a run "
                "with the same command, on the same code"
            )


def _send(connections: Iterable[socket.socket], line: str) -> None:
    for connection in connections:
        with contextlib.suppress(OSError):  # one that is gone is noticed later
            connection.sendall(line.encode())


def _report(
    address: tuple[str, int], count: int, process_id: int, deadline: float, identity: Identity
) -> socket.socket:
    place = f"{address[0]}:{address[1]}"
    hello = f"jaxvision {process_id} {count} {json.dumps(identity)}\n"
    while (left := deadline - time.monotonic()) > 0:
        try:
            connection = socket.create_connection(address, timeout=left)
        except OSError:
            time.sleep(0.1)
            continue
        answer = ""
        with contextlib.suppress(OSError):
            connection.sendall(hello.encode())
            answer = _line(connection, deadline + 5)  # process 0 gives up first, and says why
        if answer == "go":
            return connection
        connection.close()
        if answer.startswith("no "):
            raise UserError(f"process 0 at {place} did not go on: {answer[3:]}")
        raise UserError(
            f"{place} does not answer as a process 0 that waits: the run has begun without this "
            "process, or has ended; all start together, each with a number of its own"
        )
    raise UserError(f"no process 0 at {place}: is it running, and can this host reach it?")


def _line(connection: socket.socket, deadline: float) -> str:
    """Return the line that the other side says, or what there is of it at the ``deadline``."""
    line = b""
    with contextlib.suppress(OSError):
        while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            got = connection.recv(1)
            if not got:
                break
            line += got
            if time.monotonic() > deadline:
                break
    return line.decode("utf-8", "replace").strip()
