"""The cluster: processes of this machine, or a scheduler that runs already."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

import dask
import distributed
import distributed.comm

from jaxvision import progress, terminal
from jaxvision.cluster import preload
from jaxvision.types import UserError

WAIT_SECONDS = 60  # for a scheduler to answer, and for the first worker
SILENT_SECONDS = 2  # of it, before the wait is said

# What a local cluster is set to.
_LOCAL = {
    # A worker holds the run that it works on and no other: who waits behind a run that kills its
    # worker would be counted as one that kills.
    "distributed.scheduler.worker-saturation": 1.0,
    # Dask gives the linear algebra of its workers one thread; ours are runs of their own layout.
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.worker.preload": [preload.__name__],
}


@contextlib.contextmanager
def connected(scheduler: str | None, processes: int) -> Iterator[distributed.Client]:
    """Yield a client of the scheduler at an address; None: of ``processes`` on this machine.

    Raises:
      UserError: it is no address, no scheduler answers there, or it has no worker.
    """
    # What is lost is told in one line, with the run's name.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as held:
        if scheduler is not None:
            _check_address(scheduler)
        else:
            held.enter_context(dask.config.set(_LOCAL))
            scheduler = held.enter_context(_local(processes))
        client = held.enter_context(_client(scheduler))
        try:
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except TimeoutError as error:
            raise UserError(
                f"the scheduler has had no worker for {WAIT_SECONDS} s: start some, as in "
                "`dask worker ADDRESS --nthreads=1`"
            ) from error
        yield client


def _check_address(address: str) -> None:
    """Wait until a scheduler answers at an address.

    A client that cannot be made leaves threads behind, which hold up the end of the process: none
    is made before something answers.

    Raises:
      UserError: it is no address, or none answers.
    """
    try:
        asyncio.run(_reach(address))
    except OSError as error:  # TimeoutError is one
        why = terminal.first_line(error)
        raise UserError(f"--scheduler={address}: no scheduler answers ({why})") from error
    except (ValueError, TypeError) as error:
        why = terminal.first_line(error)
        raise UserError(
            f"--scheduler={address} is no address as tcp://HOST:PORT ({why})"
        ) from error


async def _reach(address: str) -> None:
    options = distributed.Security().get_connection_args("client")
    connecting = distributed.comm.connect(address, timeout=WAIT_SECONDS, **options)
    reaching = asyncio.ensure_future(connecting)
    ended, _ = await asyncio.wait([reaching], timeout=SILENT_SECONDS)
    if not ended:
        progress.note(f"waiting up to {WAIT_SECONDS} s for {address}")
    found = await reaching
    found.abort()


def _local(processes: int) -> distributed.LocalCluster:
    return distributed.LocalCluster(
        n_workers=processes,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        memory_limit=0,  # a worker only waits for its run
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    )


def _client(scheduler: str | distributed.LocalCluster) -> distributed.Client:
    try:
        return distributed.Client(scheduler, timeout=WAIT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        why = terminal.first_line(error)
        raise UserError(f"--scheduler={scheduler}: no scheduler answers ({why})") from error
