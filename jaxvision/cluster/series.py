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

    A run whose worker dies is run again by another one. Where it takes so many with it that the
    scheduler gives it up, that is its outcome, and the others go on.

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
    futures = {}
    for rank, run in enumerate(wanted):
        told = {"key": f"{run.name}-{series}", "pure": False, "priority": -rank}
        future = client.submit(_on_worker, run, layout, topic, retries=RETRIES, **told)
        futures[future] = run
    try:
        for future in distributed.as_completed(list(futures), loop=client.loop):
            # Forgotten here: while it is held, a result that dies with its worker is made again.
            run, outcome = futures.pop(future), _outcome(future)
            future.release()
            yield run, outcome
    finally:
        client.unsubscribe_topic(topic)


def _on_worker(run: Run, layout: Layout, topic: str) -> Outcome:
    worker = distributed.get_worker()

    def tell(line: str) -> None:
        worker.log_event(topic, (run.name, line))

    tell(f"begun by {worker.address}")
    return runs.execute(run, layout, tell)


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
