"""Teams of workers: who is asked, what is timed, what counts as clean. The workers are fakes."""

import json
import os
import sys
import time

import pytest

from benchmarks import team
from benchmarks.team import Team, busy_process, environment, machine, summary

# A worker that sleeps or computes for so many milliseconds a step, and tells its cores.
FAKE = """
import os, time
from benchmarks.worker import serve

def prepare(name, milliseconds):
    def run(n):
        if name == "sleeps":
            return time.sleep(n * milliseconds / 1e3)
        end = time.perf_counter() + n * milliseconds / 1e3
        while time.perf_counter() < end:
            pass
    print("a library prints")
    facts = {"cores": sorted(os.sched_getaffinity(0)), "found": os.environ.get("OMP_NUM_THREADS")}
    return run, facts | {"disable": os.environ["JAXVISION_DISABLE"]}

serve(prepare)
"""
COMMAND = [sys.executable, "-c", FAKE]
CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def started():
    """Return ``start(**how)``; its teams are closed after the test."""
    teams = []

    def start(cores=CORES, **how):
        teams.append(Team(COMMAND, cores, **how))
        return teams[-1]

    yield start
    for each in teams:
        each.close()
        assert [process.returncode for process in each.processes] == [0] * len(each.processes)


def test_one_worker_has_all_cores_and_a_team_one_each(started):
    one, each = started(), started(a_core=True)
    allowed = sorted(os.sched_getaffinity(0))
    (facts,) = one.ask(prepare="sleeps", milliseconds=1)
    assert facts["cores"] == allowed
    assert [f["cores"] for f in each.ask(prepare="sleeps", milliseconds=1)] == [
        [core] for core in allowed
    ]
    (facts,) = started(cores=1).ask(prepare="sleeps", milliseconds=1)
    assert facts["cores"] == allowed[:1]


def test_the_environment_keeps_no_setting_of_the_libraries(started, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    facts = started().prepare("sleeps", milliseconds=1)
    assert (facts["found"], facts["disable"]) == (None, "cache")
    facts = started(JAXVISION_DISABLE="native").prepare("sleeps", milliseconds=1)
    assert facts["disable"] == "native"
    assert "PATH" in environment()


def test_a_team_s_workers_are_busy_at_once(started):
    """20 steps of 20 ms on each core take .4 s: not one worker after the other."""
    each = started(a_core=True)
    each.prepare("sleeps", milliseconds=20)
    sample = each.sample("sleeps", 20)
    assert sample["wall"] >= 0.02 / CORES
    assert sample["wall"] < 0.02 or CORES == 1
    assert sample["cpu"] < 0.005
    assert sample["peak_mb"] > 1


def test_cpu_time_is_the_worker_s_own_and_no_stranger_s(started):
    worker = started(cores=1)
    worker.prepare("computes", milliseconds=10)
    sample = worker.sample("computes", 30)
    assert sample["wall"] >= 0.01
    assert 0 < sample["cpu"] <= 0.0101
    assert sample["foreign"] > -0.2  # ticks of 10 ms apart, the worker itself is not counted


def test_a_busy_process_is_known_and_ends(started):
    worker = started()
    worker.prepare("sleeps", milliseconds=10)
    with busy_process(CORES) as other:
        time.sleep(0.2)
        before = team.cpu_seconds([other])
        known = worker.sample("sleeps", 30, [other])
        used = (team.cpu_seconds([other]) - before) / 0.3
        assert other.poll() is None
    assert other.poll() is not None
    assert used > 0
    assert known["foreign"] < CORES


def test_a_worker_that_dies_is_an_error_with_its_request():
    ends = Team([sys.executable, "-c", "import sys; sys.stdin.readline()"], 1)
    with pytest.raises(RuntimeError, match=r"ended at \{'prepare': 'conv16'"):
        ends.prepare("conv16")
    ends.close()


@pytest.mark.parametrize(
    ("cores", "ms", "clean"),
    [(1, 40.0, 2), (2, 250.0, 2)],  # the lowest CPU time; the median of clean walls
)
def test_a_summary_takes_the_lowest_cpu_time_or_the_median_of_clean_walls(cores, ms, clean):
    samples = [
        {"wall": 0.2, "cpu": 0.05, "foreign": 0.0},
        {"wall": 0.3, "cpu": 0.05, "foreign": 0.11},
        {"wall": 9.0, "cpu": 0.04, "foreign": 0.5},
    ]
    assert summary(samples, cores) == {"ms": pytest.approx(ms), "clean": clean}


def test_where_no_sample_is_clean_all_count():
    samples = [{"wall": wall, "cpu": 1.0, "foreign": 1.0} for wall in (0.1, 0.3, 0.2)]
    assert summary(samples) == {"ms": pytest.approx(200.0), "clean": 0}


def test_the_machine_is_named_with_what_tells_processors_apart():
    assert "family" in machine() and "model" in machine()


def test_results_are_added_to_their_history(tmp_path, monkeypatch):
    monkeypatch.setattr(team, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    team.append_result("recipe", {"a": 1})
    team.append_result("recipe", {"a": 2})
    found = json.loads((tmp_path / "benchmarks" / "recipe.json").read_text())
    assert found == [{"a": 1}, {"a": 2}]
