"""Three workers of which one is killed, a run that kills its worker, and everybody else."""

import collections
import os

import dask
import pytest

from jaxvision.cluster import engine, series
from jaxvision.types import UserError
from tests.cluster.commands import KILLS_ITS_WORKER, WRITES, attempts, contents, layout, run

NOWHERE = "tcp://127.0.0.1:1"
HEALTHY = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def client():
    few = dask.config.set({"distributed.scheduler.allowed-failures": 1})  # each costs seconds
    with few, engine.connected(None, 3) as client:
        yield client


def series_of(client, wanted, place):
    """Return the outcomes, each once, and the lines that were said."""
    said = collections.defaultdict(list)
    found = series.outcomes(client, wanted, layout(place), lambda n, line: said[n].append(line))
    ended = [(run.name, outcome) for run, outcome in found]
    assert sorted(name for name, _ in ended) == sorted(run.name for run in wanted)
    return dict(ended), said


def test_nothing_is_lost_with_a_worker_and_twice_is_once(client, tmp_path):
    """Row 45 of the field cases."""
    wanted = [run(tmp_path, name, WRITES) for name in HEALTHY]
    once = f"if attempt == 1:{KILLS_ITS_WORKER.replace(chr(10), chr(10) + '    ')}"
    wanted[1] = run(tmp_path, "b", once + WRITES)
    before = set(client.run(os.getpid).values())

    ended, said = series_of(client, wanted, tmp_path)
    assert {name: outcome.code for name, outcome in ended.items()} == dict.fromkeys(HEALTHY, 0)
    assert attempts(tmp_path, "b") == 2
    assert [line.split()[0] for line in said["b"]] == ["begun", "begun", "measuring"]
    assert len({(tmp_path / name / "record.json").read_text() for name in HEALTHY}) == 1
    client.wait_for_workers(3, timeout=60)
    after = set(client.run(os.getpid).values())
    assert len(before - after) == 1  # one was killed, and another took its place

    files = contents(tmp_path)
    ended, _ = series_of(client, wanted, tmp_path)
    assert all(outcome.kept for outcome in ended.values())
    assert contents(tmp_path) == files


def test_a_run_that_kills_workers_is_named_and_the_others_end_well(client, tmp_path):
    """Row 45: one that always does takes several with it, before it is given up."""
    wanted = [run(tmp_path, "poison", KILLS_ITS_WORKER)]
    wanted += [run(tmp_path, name, WRITES) for name in HEALTHY]
    ended, said = series_of(client, wanted, tmp_path)
    assert [ended[name].code for name in HEALTHY] == [0, 0, 0, 0]

    (line,) = ended["poison"].lines
    assert line.startswith("error: 2 workers, in turn, died while they had this run")
    assert attempts(tmp_path, "poison") == len(said["poison"]) == 4  # two of them alone


def test_a_run_that_crashes_is_tried_again_and_one_that_is_wrong_is_not(client, tmp_path):
    crash = run(tmp_path, "crash", "os.kill(os.getpid(), 11)")
    wrong = run(tmp_path, "wrong", "1 / 0")
    ended, _ = series_of(client, [crash, wrong], tmp_path)
    (line,) = ended["crash"].lines
    assert line == "error: crash was ended by SIGSEGV (it printed nothing), 4 times"
    assert attempts(tmp_path, "crash") == 1 + series.RETRIES
    assert ended["wrong"].lines[-1] == "ZeroDivisionError: division by zero"
    assert attempts(tmp_path, "wrong") == 1  # it would come back


@pytest.mark.parametrize("address", ["nonsense", "", "foo://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_what_is_no_address_is_said_before_a_client_is_made(monkeypatch, capsys, address):
    monkeypatch.delattr(engine.distributed, "Client")
    refused = pytest.raises(UserError, match=r"is no address as tcp://HOST:PORT")
    with refused, engine.connected(address, 1):
        pass
    assert capsys.readouterr().err == ""


def test_where_no_scheduler_answers_it_is_said_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(engine, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(engine, "SILENT_SECONDS", 0.1)
    refused = pytest.raises(
        UserError, match=r"^--scheduler=tcp://127.0.0.1:1: no scheduler answers"
    )
    with refused, engine.connected(NOWHERE, 1):
        pass
    assert capsys.readouterr().err == f"jaxvision: waiting up to 0.5 s for {NOWHERE}\n"
