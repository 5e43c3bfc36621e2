"""Many runs, submitted to a cluster at once; their outcomes as they come."""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence

import distributed
from distributed.scheduler import KilledWorker

from jaxvision.cluster import runs
from jaxvision.cluster.runs import Interrupted, Layout, Outcome, Run, SchedulerLost

RETRIES = 3  # of a run that was interrupted; deaths of workers are counted by the scheduler


def outcomes(
    client: distributed.Client,
    wanted: Sequence[Run],
    layout: Layout,
    tell: Callable[[str, str], None],
) -> Iterator[tuple[Run, Outcome]]:
    """Run all of them, the first first, and yield each once, when it has ended.

    A run whose worker dies is run again by another one. Where so many die that the scheduler gives
    it up, the others go on, and it is run once more when they have ended: a worker may have held
    it beside the run that killed. Alone it cannot be blamed for another.

    Args:
      client: of the cluster.
      wanted: names must differ.
      layout: of the series.
      tell: is called with the name of a run and a line that it says, from another thread.

    Raises:
      SchedulerLost: what has not been yielded is not known.
    """
    series = uuid.uuid4().hex[:8]  # a scheduler may have seen runs of these names
    topic = f"jaxvision-{series}"
    client.subscribe_topic(topic, lambda event: tell(*event[1]))

    def submit(run: Run, turn: str, rank: int = 0) -> distributed.Future:
        told = {"key": f"{run.name}-{turn}-{series}", "pure": False, "priority": -rank}
        return client.submit(_on_worker, run, layout, topic, retries=RETRIES, **told)

    futures = {submit(run, "together", rank): run for rank, run in enumerate(wanted)}
    given_up = []
    try:
        for future in distributed.as_completed(list(futures), loop=client.loop):
            run, killed = futures.pop(future), _killed(future)
            outcome = None if killed else _outcome(future)
            # Forgotten here: while it is held, a result that dies with its worker is made again.
            future.release()
            if killed:
                given_up.append(run)
            else:
                yield run, outcome
        for run in given_up:
            alone = [submit(run, "alone")]
            for future in distributed.as_completed(alone, loop=client.loop):
                yield run, _outcome(future)
    finally:
        client.unsubscribe_topic(topic)


def _on_worker(run: Run, layout: Layout, topic: str) -> Outcome:
    worker = distributed.get_worker()

    def tell(line: str) -> None:
        worker.log_event(topic, (run.name, line))

    tell(f"begun by {worker.address}")
    return runs.execute(run, layout, tell)


def _killed(future: distributed.Future) -> bool:
    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def _outcome(future: distributed.Future) -> Outcome:
    if future.status == "finished":
        return future.result()
    if future.status != "error":
        raise SchedulerLost("the scheduler is gone")
    error = future.exception()
    if isinstance(error, KilledWorker):
        died = error.allowed_failures + 1
        who = f"{died} workers, in turn, died while they" if died > 1 else "a worker died while it"
        line = f"error: {who} had this run, the last one at {error.last_worker.address}"
        return Outcome(os.EX_UNAVAILABLE, (line,))
    if isinstance(error, Interrupted):
        return Outcome(os.EX_TEMPFAIL, (f"error: {error}, {RETRIES + 1} times",))
    return Outcome(os.EX_SOFTWARE, (f"error: {type(error).__name__}: {error}",))
