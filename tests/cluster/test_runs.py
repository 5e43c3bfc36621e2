"""What a worker does with one command, in this process."""

import json
import os

import pytest

from jaxvision.cluster import runs
from tests.cluster.commands import WRITES, attempts, layout, run


def execute(wanted, place, **changed):
    said = []
    outcome = runs.execute(wanted, layout(place, **changed), said.append)
    return outcome, said


def test_a_run_says_its_lines_and_is_done(tmp_path):
    outcome, said = execute(run(tmp_path, "a", WRITES), tmp_path)
    assert (outcome.code, outcome.lines, outcome.kept) == (0, ("measuring",), False)
    assert said == ["measuring"]


def test_the_second_time_changes_nothing(tmp_path):
    """Row 45 of the field cases: a cluster may run a task twice."""
    wanted = run(tmp_path, "a", WRITES)
    execute(wanted, tmp_path)
    outcome, said = execute(wanted, tmp_path)
    assert (outcome.code, outcome.kept, said) == (0, True, [])
    assert attempts(tmp_path, "a") == 1
    execute(wanted, tmp_path, again=True)
    assert attempts(tmp_path, "a") == 2
    execute(wanted, tmp_path, cores=1)  # another layout may have other bits
    assert attempts(tmp_path, "a") == 3
    execute(wanted, tmp_path, cores=1, environment={"JAXVISION_DISABLE": "native"})
    assert attempts(tmp_path, "a") == 4  # other variables too
    moved = {"JAXVISION_DISABLE": "native", "JAX_COMPILATION_CACHE_DIR": "elsewhere"}
    assert execute(wanted, tmp_path, cores=1, environment=moved)[0].kept


def test_a_mistake_is_an_outcome(tmp_path):
    outcome, _ = execute(run(tmp_path, "a", "sys.exit('error: no such data set')"), tmp_path)
    assert (outcome.code, outcome.lines) == (1, ("error: no such data set",))


@pytest.mark.parametrize("program", ["sys.exit(75)", "sys.exit(69)", "os.kill(os.getpid(), 9)"])
def test_what_asks_to_be_started_again_is_interrupted(tmp_path, program):
    wanted = run(tmp_path, "a", program)
    with pytest.raises(
        runs.Interrupted, match=r"^a was ended by (SIGKILL|exit code 69|exit code 75)"
    ):
        execute(wanted, tmp_path)


def test_a_run_that_leaves_no_record_is_no_success(tmp_path):
    outcome, _ = execute(run(tmp_path, "a", ""), tmp_path)
    assert outcome.code == os.EX_IOERR
    assert outcome.lines[0].startswith(f"error: no whole record in {tmp_path / 'a'}: No such file")


def test_a_machine_with_other_code_refuses(tmp_path):
    """Else half of a figure would come from another version."""
    told = runs.code_here() | {"jax": "0.0.1"}
    outcome, _ = execute(run(tmp_path, "a", WRITES), tmp_path, code=told)
    assert outcome.code == os.EX_CONFIG
    assert "has other code: jax " in outcome.lines[0]
    assert "not 0.0.1" in outcome.lines[0]
    assert not (tmp_path / "a.tries").exists()


def test_a_directory_that_a_machine_lacks_is_one_line(tmp_path):
    outcome, _ = execute(run(tmp_path, "a", WRITES), tmp_path / "elsewhere")
    assert outcome.code == os.EX_CONFIG
    assert outcome.lines[0].startswith(f"error: cannot run in {tmp_path / 'elsewhere'}")


def test_a_run_sees_the_layout_of_its_series(tmp_path, monkeypatch):
    """So many cores, on any machine, and the variables of the one that submits."""
    monkeypatch.setenv("JAX_OF_THE_WORKER", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Dask sets it
    program = "import json\njson.dump(dict(os.environ), open(tries, 'w'))" + WRITES
    execute(run(tmp_path, "a", program), tmp_path)
    seen = json.loads((tmp_path / "a.tries").read_text())
    assert seen["JAXVISION_CORES"] == seen["OMP_NUM_THREADS"] == "3"
    assert seen["JAX_MINE"] == "1"
    assert "JAX_OF_THE_WORKER" not in seen
