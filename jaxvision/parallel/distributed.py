"""Several processes, one run: they start together, stop together, and none waits for a dead one.

Every process runs the same program on devices of its own; ``jax.distributed`` joins them. A process
that is missing, dies or meets an error is one clear line in the others, and their end.
"""

import atexit
import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

from jaxvision import fields
from jaxvision.parallel import peers
from jaxvision.types import PyTree, UserError

LOST_PEER = os.EX_UNAVAILABLE  # 69: another process died; start again, from the last checkpoint
FLAGS = ("coordinator", "num_processes", "process_id", "wait_seconds")
MOST_PROCESSES = 1 << 16
HEARTBEAT_SECONDS = 30  # JAX aborts the others if a process is silent (not dead) for so long

_STOPPED = (os.EX_TEMPFAIL, 130)  # by SIGTERM and by Ctrl-C
_peers: peers.Peers = {}
_watchers: list[threading.Thread] = []
_leaving = threading.Lock()
_heard = threading.Event()  # that a process left otherwise than in order
_PATIENCE = 30  # seconds that the thread which says so may take
_agreed_to_stop = False


def define_flags(values: flags.FlagValues) -> None:
    """Define the flags named in ``FLAGS``."""
    flags.DEFINE_string(
        "coordinator",
        None,
        "HOST:PORT where process 0 listens, and there alone; 'auto' asks JAX (TPU pods).",
        flag_values=values,
    )
    numbers = (
        ("num_processes", None, "Processes of the run.", 1, MOST_PROCESSES),
        ("process_id", None, "This one: 0, 1, ...", 0, MOST_PROCESSES - 1),
        ("wait_seconds", 60, "How long to wait for other processes.", 1, 86_400),
    )
    for name, default, text, low, high in numbers:
        fields.define_whole(name, default, text, low, high, values)


def start_from_flags(values: flags.FlagValues, identity: peers.Identity | None = None) -> None:
    """Join the processes that the flags name or that srun, mpirun or GKE started; else do nothing.

    Call it before JAX makes its first array. ``identity`` as ``start``; where JAX joins the
    processes by itself it is not looked at: ``agree`` does that once they are joined.

    Raises:
      UserError: the flags are incomplete, or the processes did not find together.
    """
    given = {name: getattr(values, name) for name in FLAGS[:3]}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if given["coordinator"] == "auto" or (len(missing) == 3 and _cluster()):
        _join_cluster(values.wait_seconds)
    elif len(missing) < 3:
        if missing:
            raise UserError(f"several processes need {' and '.join(missing)} too")
        start(**given, wait_seconds=values.wait_seconds, identity=identity)


def start(
    coordinator: str,
    num_processes: int,
    process_id: int,
    wait_seconds: float = 60,
    identity: peers.Identity | None = None,
) -> None:
    """Join ``num_processes`` processes, this being number ``process_id``.

    Args:
      coordinator: 'host:port', an address of process 0. It listens at this address alone, but
        anybody who reaches it can join: it belongs on loopback or a private network.
      num_processes: how many there are.
      process_id: 0 ... num_processes - 1.
      wait_seconds: how long to wait for the others.
      identity: what all must have in common, such as the experiment and its flags: name -> value.

    Raises:
      UserError: somebody did not come, the numbers do not fit together, or a process has another
        identity.
    """
    if process_id >= num_processes:
        raise UserError(f"--process_id={process_id}: {num_processes} processes count from 0")
    address = _address(coordinator)
    if num_processes == 1:
        return
    _peers.update(peers.meet(address, num_processes, process_id, wait_seconds, identity))
    _join(
        coordinator_address=coordinator,
        coordinator_bind_address=coordinator if process_id == 0 else None,
        num_processes=num_processes,
        process_id=process_id,
        cluster_detection_method="deactivate",
        initialization_timeout=60,
    )
    atexit.register(peers.tell, _peers, 0)  # runs before the meeting at exit that JAX registered
    for peer in _peers:
        _watchers.append(threading.Thread(target=_watch, args=(peer,), daemon=True))
        _watchers[-1].start()


def _address(coordinator: str) -> tuple[str, int]:
    host, _, port = coordinator.rpartition(":")
    wrong = UserError(f"--coordinator={coordinator[:100]} is not HOST:PORT")
    digits = port.isascii() and port.isdecimal() and len(port) <= 5
    if not host or not digits or not 0 < int(port) < 65536:
        raise wrong
    host = host.strip("[]")
    try:
        host.encode("idna")  # the socket would: no UTF-8, or a label over 63 letters
    except UnicodeError:
        raise wrong from None
    return host, int(port)


def several() -> bool:
    """Whether this run has more than one process."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_main() -> bool:
    """Whether this process is the one that writes files and speaks to the user."""
    return not several() or jax.process_index() == 0


def should_stop(asked: int) -> int:
    """Return the signal by which a process was asked to stop, 0 if none was.

    All get the same answer, the greatest ``asked``, so all stop together. With several processes a
    meeting: each calls it, as often as the others and at the same places.
    """
    global _agreed_to_stop
    if several():
        asked = int(np.max(multihost_utils.process_allgather(np.array(asked))))
    _agreed_to_stop |= asked != 0
    return asked


def meet() -> None:
    """Wait until every process has come here."""
    if several():
        multihost_utils.sync_global_devices("jaxvision")


def from_main(tree: PyTree) -> PyTree:
    """Return process 0's tree of numpy arrays in every process, bit by bit.

    The others give a tree of the same shapes and dtypes, such as the one they would replace.
    """
    if not several():
        return tree
    # As bytes: JAX adds the others' zeros, and a negative zero plus zero is a positive one.
    sent = jax.tree.map(lambda x: np.ascontiguousarray(x).reshape(-1).view(np.uint8), tree)
    got = multihost_utils.broadcast_one_to_all(sent)
    return jax.tree.map(lambda x, b: np.asarray(b).view(x.dtype).reshape(x.shape), tree, got)


def text_from_main(text: str) -> str:
    """Return process 0's text in every process."""
    data = np.frombuffer(text.encode(), np.uint8)
    size = int(from_main(np.array(len(data))))
    return from_main(data if is_main() else np.zeros(size, np.uint8)).tobytes().decode()


def joined_by_jax() -> bool:
    """Whether JAX joined the processes by itself, so that nothing has compared them."""
    return several() and not _peers


def agree(identity: peers.Identity) -> None:
    """Compare what all must have in common; with several processes a meeting.

    Raises:
      UserError: in every process, where one has another identity than process 0.
    """
    if not several():
        return
    mine = json.dumps(identity)
    of_main = text_from_main(mine)
    differ = multihost_utils.process_allgather(np.array(mine != of_main))
    others = [str(i) for i in np.flatnonzero(differ)]
    if not others:
        return
    mend = "start every process of a run with the same command, on the same code and data"
    if mine != of_main:
        told = peers.differences(identity, json.loads(of_main))
        raise UserError(f"this process differs from process 0 in {told}: {mend}")
    raise UserError(f"process {', '.join(others[:5])} differs from process 0, see there: {mend}")


def end(code: int) -> NoReturn:
    """End the program like ``sys.exit(code)``, without waiting for a process that will not come.

    An error ends the other processes as well. No error: 0, and any code after ``should_stop`` has
    agreed; process 0 may then take its time to write.
    """
    if code == 0 or not jax.distributed.is_initialized():
        sys.exit(code)
    _leaving.acquire()  # Never released: the first thread to leave says why.
    with contextlib.suppress(BrokenPipeError):  # nobody reads on
        sys.stdout.flush()
        sys.stderr.flush()
    peers.tell(_peers, 0 if _agreed_to_stop else code)
    if joined_by_jax() and is_main():
        time.sleep(1)  # the others may be about to say the same, and JAX aborts whoever outlives us
    if 0 not in _peers:  # likewise, and these tell when they end
        peers.await_ends(_peers, seconds=5)
    elif _agreed_to_stop:  # and may abort process 0 while it writes, were the others gone
        _watchers[0].join()
    os._exit(code)  # an orderly exit would wait for all processes, some of them gone


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Around a program: an error of this process does not leave the others waiting.

    What JAX raises because another process died is left to the thread that says so in one line.
    """
    try:
        yield
    except (UserError, BrokenPipeError):
        raise
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        if _heard.wait(1):  # that a process was lost: the other thread ends the program
            time.sleep(_PATIENCE)
        traceback.print_exc()
        end(1)


def _watch(peer: int) -> None:
    """Wait for another process to leave; unless that is in order, say so and leave too."""
    code = peers.last_word(_peers[peer])
    if code == 0:
        return
    _heard.set()
    if code is not None:
        time.sleep(0.5)  # most mistakes are everybody's: let this process say it in its own words
    if _leaving.locked():  # it has
        return
    what = "is gone (killed, or its host is)" if code is None else f"ended with exit code {code}"
    # A stop is no error; it comes this way where it was not agreed on, between two meetings.
    what = f"process {peer} {what}, so this one stops"
    print(what if code in _STOPPED else f"error: {what}", file=sys.stderr)
    end(LOST_PEER if code is None else code)


def _join(**options) -> None:
    # JAX's own handler would swallow SIGTERM; should_stop does what it is for.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_SECONDS, **options)


def _join_cluster(wait_seconds: int) -> None:
    try:
        _join(initialization_timeout=wait_seconds)
    except Exception as error:  # each kind of cluster has its own, such as KeyError
        why = " ".join(str(error).split())
        raise UserError(
            f"JAX does not find by itself where this run's processes are ({why}): give each of them"
            " --coordinator=HOST:PORT, --num_processes and --process_id"
        ) from error


def _cluster() -> bool:
    """Whether the environment speaks of several processes that JAX joins by itself."""
    slurm = "SLURM_STEP_NODELIST" in os.environ and os.environ.get("SLURM_NTASKS", "1") != "1"
    open_mpi = os.environ.get("OMPI_COMM_WORLD_SIZE", "1") != "1"
    gke = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return slurm or open_mpi or gke
