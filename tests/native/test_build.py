"""The library on disk: made once, checked, and done without where it cannot be made.

A stand-in for the compiler copies the real library: what is tested does not depend on its content,
and compiling takes ten seconds.
"""

import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jaxvision.native import build, switch
from jaxvision.types import UserError

pytestmark = pytest.mark.usefixtures("native")


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Return the log of a compiler that takes a quarter of a second; the cache is empty."""
    real = build.library()
    log, script = tmp_path / "log", tmp_path / "quick++"
    script.write_text(
        textwrap.dedent(f"""\
        #!/bin/sh
        if [ "$1" = --version ]; then echo quick 1; exit; fi
        while [ "$1" != -o ]; do shift; done
        sleep 0.25
        cp '{real}' "$2"
        echo compiled >>'{log}'
        """)
    )
    script.chmod(0o755)
    log.touch()
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return log


def times(log):
    return len(log.read_text().splitlines())


def entries():
    return sorted(build.directory().glob("*.so"))


def test_compiled_once(compiler):
    first = build.library()
    assert build.library() == first
    assert build.load()
    assert times(compiler) == 1
    assert [stat.S_IMODE(p.stat().st_mode) for p in (first, first.parent)] == [0o700, 0o700]
    assert sorted(p.name for p in first.parent.iterdir()) == sorted([first.name, "lock"])


@pytest.mark.parametrize("what", ["source", "compiler", "processor", "jaxlib"])
def test_whatever_it_is_made_of_makes_it_anew(compiler, monkeypatch, tmp_path, what):
    first = build.library()
    if what == "source":
        changed = tmp_path / "changed.cc"
        changed.write_bytes(build.SOURCE.read_bytes() + b"\n")
        monkeypatch.setattr(build, "SOURCE", changed)
    elif what == "compiler":
        script = Path(os.environ["CXX"])
        script.write_text(script.read_text().replace("quick 1", "quick 2"))
    elif what == "processor":
        monkeypatch.setattr(build, "_processor", lambda: "another one")
    else:
        monkeypatch.setattr(build.jaxlib, "__version__", "0.0")
    assert build.library() != first
    assert times(compiler) == 2


def test_a_launcher_is_asked_for_its_compiler_s_version(compiler, monkeypatch, tmp_path):
    launcher, script = tmp_path / "launch", Path(os.environ["CXX"])
    launcher.write_text('#!/bin/sh\n[ $1 = --version ] && exec echo launch 1\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("CXX", f"{launcher} {script}")
    first = build.library()
    script.write_text(script.read_text().replace("quick 1", "quick 2"))
    assert build.library() != first


def test_a_compiler_s_path_may_have_a_space(compiler, monkeypatch, tmp_path):
    folder = tmp_path / "my tools"
    folder.mkdir()
    script = shutil.copy(os.environ["CXX"], folder)
    monkeypatch.setenv("CXX", f"'{script}'")
    build.library()
    assert times(compiler) == 1


HARMS = ["cut", "flipped", "empty", "of another", "writable", "a link", "another user's"]


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_or_foreign_entry_is_made_anew(compiler, monkeypatch, tmp_path, harm):
    path = build.library()
    whole = path.read_bytes()
    if harm == "cut":
        path.write_bytes(whole[:1000])
    elif harm == "flipped":
        path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "of another":
        path.rename(path.with_name(path.name.replace(path.stem[-5:], "00000")))
    elif harm == "writable":
        path.chmod(0o777)
    elif harm == "another user's":
        give_away(path, monkeypatch)
    else:
        shutil.move(path, tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    again = build.library()
    assert times(compiler) == 2
    assert entries() == [again]
    assert again.read_bytes() == whole
    assert not again.is_symlink()


def give_away(path, monkeypatch):
    """Let a file look like another user's."""
    lstat = Path.lstat

    def foreign(self):
        fields = list(lstat(self))
        if self == path:
            fields[stat.ST_UID] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "lstat", foreign)
    assert not build._is_ours(path)


def test_a_folder_of_another_user_is_not_used(compiler, monkeypatch):
    folder = build._own_folder()
    give_away(folder, monkeypatch)
    with pytest.raises(build.Unavailable, match="can be written by other users"):
        build.library()


def test_nothing_is_removed_while_another_process_compiles(compiler, monkeypatch):
    """It may have just put a good entry there."""
    path = build.library()
    path.write_bytes(b"")
    monkeypatch.setattr(build, "SECONDS", 0)
    with build._alone(path.parent), pytest.raises(build.Unavailable, match="has held"):
        build.library()
    assert entries() == [path]


def test_what_a_killed_process_left_is_removed(compiler):
    build._own_folder()
    (build.directory() / "abc.partial").write_text("half")
    build.library()
    assert not list(build.directory().glob("*.partial"))


def start_build(seconds=60):
    """Start a process that builds, or waits no longer than so many seconds."""
    code = f"from jaxvision.native import build; build.SECONDS = {seconds}; print(build.library())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_compile_once(compiler):
    started = [start_build() for _ in range(2)]
    told = {process.communicate(timeout=60)[0] for process in started}
    assert told == {f"{entries()[0]}\n"}
    assert times(compiler) == 1


def test_another_process_is_waited_for_no_longer_than_the_limit(compiler, monkeypatch):
    folder = build._own_folder()
    monkeypatch.setattr(build, "SECONDS", 0.2)
    with build._alone(folder):
        begun = time.monotonic()
        with pytest.raises(build.Unavailable, match="another process has held"):
            build.library()
        assert time.monotonic() - begun < 5
    assert times(compiler) == 0


def test_a_compiler_that_hangs_is_given_up(compiler, monkeypatch):
    script = Path(os.environ["CXX"])
    script.write_text(script.read_text().replace("sleep 0.25", "exec sleep 9"))
    monkeypatch.setattr(build, "SECONDS", 0.3)
    with pytest.raises(build.Unavailable, match="took more than"):
        build.library()
    assert entries() == []
    assert not list(build.directory().glob("*.failed"))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("a warning\nx.cc:1: error: no\nnote: here", "x.cc:1: error: no"),
        ("a warning\nld: cannot find -lm\n\n", "ld: cannot find -lm"),
        ("", "exit code 1"),
    ],
)
def test_the_reason_is_the_first_error_or_the_last_line(compiler, told, why):
    script = Path(os.environ["CXX"])
    script.write_text(script.read_text().replace("sleep 0.25", f"echo '{told}' >&2; exit 1"))
    with pytest.raises(build.Unavailable, match=rf"cannot compile the kernels \({why}\): name"):
        build.library()


def test_a_compiler_that_failed_is_not_asked_again_that_day(compiler):
    script = Path(os.environ["CXX"])
    good = script.read_text()
    script.write_text(good.replace("sleep 0.25", f"echo asked >>'{compiler}'; exit 1"))
    for _ in range(2):
        with pytest.raises(build.Unavailable, match=r"cannot compile .*exit code 1"):
            build.library()
    assert times(compiler) == 1
    (failure,) = build.directory().glob("*.failed")
    with pytest.raises(build.Unavailable, match=f"remove {failure} to try it again"):
        build.library()
    os.utime(failure, (time.time() - build.FAILURE_HOLDS - 1,) * 2)
    script.write_text(good)
    assert build.load()


@pytest.mark.parametrize(
    "end",
    [
        "echo 'fatal error: cannot write: No space left on device' >&2; exit 1",
        "echo 'cc1plus: error: writing x.s: Disk quota exceeded' >&2; exit 1",
        "echo 'cc1plus: out of memory allocating 65536 bytes' >&2; exit 1",
        "echo 'c++: error: cannot execute: vfork: Cannot allocate memory' >&2; exit 1",
        "echo 'g++: fatal error: Killed signal terminated program cc1plus' >&2; exit 1",
        "kill -9 $$",
    ],
)
def test_what_passes_is_tried_again(compiler, end):
    script = Path(os.environ["CXX"])
    good = script.read_text()
    script.write_text(good.replace("sleep 0.25", end))
    with pytest.raises(build.Unavailable, match="cannot compile"):
        build.library()
    assert not list(build.directory().glob("*.failed"))
    script.write_text(good)
    assert build.load()


def test_without_a_home_there_are_no_kernels_and_no_folder_of_that_name(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(build.Unavailable, match="no home folder here: set XDG_CACHE_HOME"):
        build.library()
    assert not list(tmp_path.iterdir())


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_who_waits_is_told(compiler, capfd):
    build.library()
    assert capfd.readouterr().err.splitlines() == [WAIT]
    build.library()
    assert capfd.readouterr().err == ""


def make_trouble(kind, monkeypatch, tmp_path):
    """Leave this machine without kernels, in one of many ways."""
    cache = tmp_path / "cache"
    if kind == "no compiler":
        monkeypatch.delenv("CXX")
        monkeypatch.setenv("PATH", str(tmp_path))
    elif kind == "CXX is not there":
        monkeypatch.setenv("CXX", "no-such-compiler --fast")
    elif kind == "CXX has one quote":
        monkeypatch.setenv("CXX", "'quick++")
    elif kind == "compiler does not run":
        (tmp_path / "quick++").write_text("#!/bin/sh\nexit 3\n")
    elif kind == "source is refused":
        (tmp_path / "quick++").write_text(
            "#!/bin/sh\n[ $1 = --version ] || { echo 'x.cc:1: error: no' >&2; exit 1; }\n"
        )
    elif kind == "home is a file":
        cache.write_text("a file where the folder should be")
    elif kind == "folder is open to others":
        folder = cache / "jaxvision" / "native"
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    elif kind == "read-only":
        monkeypatch.setattr(build.Path, "mkdir", refused)
    elif kind == "full":
        monkeypatch.setattr(build.Path, "touch", refused)
    elif kind == "noexec":
        monkeypatch.setattr(build.ctypes, "CDLL", unmappable)


def refused(*_, **__):
    raise OSError(30, "Read-only file system")


def unmappable(path):
    raise OSError(f"{path}: failed to map segment from shared object")


WAIT = "jaxvision: compiling kernels for this processor: once, some ten seconds"
TROUBLES = {
    "no compiler": "no C++ compiler here: install g++ or clang++, or name one in CXX",
    "CXX is not there": "CXX names no-such-compiler, which is not here: install",
    "CXX has one quote": "CXX cannot be read (No closing quotation): quote it as in a shell",
    "compiler does not run": "does not run",
    "source is refused": "cannot compile the kernels (x.cc:1: error: no): name another",
    "home is a file": "the cache cannot be written (Not a directory): set XDG_CACHE_HOME",
    "folder is open to others": "can be written by other users: set XDG_CACHE_HOME",
    "read-only": "the cache cannot be written (Read-only file system): set XDG_CACHE_HOME",
    "full": "the cache cannot be written (Read-only file system): set XDG_CACHE_HOME",
    "noexec": "from which programs may be run",
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_without_kernels_the_run_goes_on_and_on_says_why(
    compiler, monkeypatch, tmp_path, capfd, kind
):
    switch._load.cache_clear()
    try:
        make_trouble(kind, monkeypatch, tmp_path)
        assert not switch.is_on()
        waits = kind in ("source is refused", "noexec")
        assert capfd.readouterr() == ("", f"{WAIT}\n" if waits else "")
        with pytest.raises(UserError) as told:
            switch.configure("on")
        assert str(told.value).startswith("--native=on cannot be: ")
        assert TROUBLES[kind] in str(told.value)
        assert "\n" not in str(told.value)
    finally:
        switch._load.cache_clear()
        switch.configure("auto")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize(
    ("option", "why"),
    [("noexec", "from which programs may be run"), ("ro", "cannot be written (Read-only")],
)
def test_a_cache_that_is_really_mounted_so(compiler, option, why):
    code = (
        "from jaxvision import act_conv; from jaxvision.native import switch; "
        "import jax.numpy as jnp; y = act_conv.act_conv(jnp.ones((1, 4, 4, 3)), "
        "jnp.ones((3, 3, 3, 4))).y; print(y[0, 1, 1, 0], switch.why_not())"
    )
    cache = Path(os.environ["XDG_CACHE_HOME"])
    cache.mkdir()
    mount = f"mount -t tmpfs -o {option} tmpfs '{cache}' || exit 77; exec '{sys.executable}' -c"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} "$0"', code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode in (1, 77, 127):
        pytest.skip(f"no mounts here: {done.stderr.strip()[:80]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("27.0 ")
    assert why in done.stdout


def test_the_word_in_the_environment_is_off(monkeypatch):
    assert switch.is_on()
    monkeypatch.setenv("JAXVISION_DISABLE", "native")
    assert not switch.is_on()
    with pytest.raises(UserError, match="JAXVISION_DISABLE has the word native: take it out"):
        switch.configure("on")


def test_modes(monkeypatch):
    try:
        switch.configure("off")
        assert not switch.is_on()
        switch.configure("on")
        assert switch.is_on()
        with pytest.raises(UserError, match="native=maybe: use one of auto, on, off"):
            switch.configure("maybe")
    finally:
        switch.configure("auto")
    monkeypatch.setattr(switch.jax, "default_backend", lambda: "gpu")
    assert not switch.is_on()
    with pytest.raises(UserError, match="JAX runs on gpu"):
        switch.configure("on")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_kernels_under_sanitizers():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        ["make", "--no-print-directory", "sanitize"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(" 0 failures")
