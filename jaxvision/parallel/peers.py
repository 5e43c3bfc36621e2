"""Connections between the processes of one run: who has come, who is gone, who leaves and why.

Each process holds one connection to process 0. JAX has its own, but where a process is missing it
aborts with a C++ stack or waits for minutes; a closed connection is noticed at once.
"""

import contextlib
import socket
import time

from jaxvision.types import UserError

Peers = dict[int, socket.socket]  # by process number


def meet(address: tuple[str, int], count: int, process_id: int, wait_seconds: float) -> Peers:
    """Return the connections once all ``count`` processes have come to ``address``.

    Process 0 listens there, and there alone, and gets a connection to every other; they get one to
    process 0. The address is free again afterwards.

    Raises:
      UserError: somebody did not come in time, or the numbers do not fit together.
    """
    deadline = time.monotonic() + wait_seconds
    if process_id == 0:
        peers = _gather(address, count, deadline)
    else:
        peers = {0: _report(address, count, process_id, deadline)}
    for connection in peers.values():
        connection.settimeout(None)
        # The kernel then notices a host that vanished without a word, within half a minute.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return peers


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


def _gather(address: tuple[str, int], count: int, deadline: float) -> Peers:
    place = f"{address[0]}:{address[1]}"
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        listener = socket.create_server(address, family=family, backlog=count)
    except OSError as error:
        raise UserError(f"cannot listen at {place}: {error.strerror}") from error
    peers: Peers = {}
    with listener, contextlib.ExitStack() as opened:
        while len(peers) < count - 1:
            listener.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection = opened.enter_context(listener.accept()[0])
            except TimeoutError:
                missing = ", ".join(str(i) for i in range(1, count) if i not in peers)
                raise UserError(f"process {missing} of {count} did not come to {place}") from None
            connection.settimeout(5)
            word, *numbers = _line(connection).split() or [""]
            if word != "jaxvision" or [n.isdecimal() for n in numbers] != [True, True]:
                connection.close()  # a stranger
                continue
            peer, its_count = map(int, numbers)
            if its_count != count or peer in peers or not 0 < peer < count:
                raise UserError(
                    f"process {peer} of {its_count} came to process 0 of {count}: all must name "
                    "the same number of processes, and each its own number"
                )
            peers[peer] = connection
        for connection in peers.values():
            connection.sendall(b"go\n")
        opened.pop_all()  # stay open
    return peers


def _report(
    address: tuple[str, int], count: int, process_id: int, deadline: float
) -> socket.socket:
    place = f"{address[0]}:{address[1]}"
    while (left := deadline - time.monotonic()) > 0:
        try:
            connection = socket.create_connection(address, timeout=left)
        except OSError:
            time.sleep(0.1)
            continue
        connection.settimeout(left + 5)  # process 0 gives up first, and says why
        connection.sendall(f"jaxvision {process_id} {count}\n".encode())
        if _line(connection) != "go":
            connection.close()
            raise UserError(f"process 0 at {place} did not go on; see its message")
        return connection
    raise UserError(f"no process 0 at {place}: is it running, and can this host reach it?")


def _line(connection: socket.socket) -> str:
    """Return the short line that the other side says, or what there is of it."""
    line = b""
    with contextlib.suppress(OSError):
        while not line.endswith(b"\n") and len(line) < 64 and (got := connection.recv(1)):
            line += got
    return line.decode("ascii", "replace").strip()
