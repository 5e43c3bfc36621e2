"""Runtime settings: each piece does its work, can be switched off, and gives way where it must."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxvision import runtime
from jaxvision.convolution import conv2d
from jaxvision.types import UserError

# What a fresh process sees.
REPORT = """
import json, os
from jaxvision import runtime
runtime.configure(cpu_devices=3)
runtime.configure(cpu_devices=3)
import jax, jax.numpy as jnp
runtime.jit(jnp.sin)(1.0).block_until_ready()
print(json.dumps({
    "devices": jax.device_count(),
    "threads": os.environ.get("PJRT_NPROC"),
    "cache": jax.config.jax_compilation_cache_dir,
}))
"""


def fresh_process(tmp_path, **variables):
    inherited = ("JAX_COMPILATION_CACHE_DIR", "JAXVISION_DISABLE", "PJRT_NPROC")
    env = {name: value for name, value in os.environ.items() if name not in inherited}
    env |= {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", REPORT], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_configure(tmp_path):
    seen = fresh_process(tmp_path)
    folder = tmp_path / "jaxvision"
    assert (seen["devices"], seen["threads"], seen["cache"]) == (3, "1", str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert any(folder.iterdir()), "even a program that compiles fast is kept"


def test_switches(tmp_path):
    seen = fresh_process(tmp_path, JAXVISION_DISABLE="devices, cache")
    assert (seen["devices"], seen["threads"], seen["cache"]) == (1, None, None)
    assert not any(tmp_path.iterdir())


def test_unknown_switch_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("JAXVISION_DISABLE", "cache,turbo")
    with pytest.raises(UserError, match=r"^JAXVISION_DISABLE=turbo: unknown word, use any"):
        runtime.configure()


def test_too_late_for_devices_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("JAXVISION_DISABLE", "cache")
    monkeypatch.setenv("PJRT_NPROC", "1")
    count = jax.local_device_count("cpu") + 1
    with pytest.raises(UserError, match=r"call runtime\.configure first$"):
        runtime.configure(cpu_devices=count)


@pytest.mark.parametrize(
    ("cgroup", "limits", "wanted"),
    [
        ("0::/", {}, None),
        ("0::/", {"memory.max": "1048576"}, 1 << 20),  # a container
        ("0::/docker/ab12", {"memory.max": "1048576"}, 1 << 20),  # one that sees its outer name
        ("0::/a/job_1/task_0", {"a/memory.max": "max", "a/job_1/memory.max": "4096"}, 4096),
        ("0::/a/b", {"a/memory.max": "4096", "a/b/memory.max": "8192"}, 4096),
        ("0::/a", {"b/memory.max": "4096", "a/memory.max": "max"}, None),
        (
            "12:cpu,cpuacct:/x\n4:memory:/slurm/uid_0/job_1/step_0\n0::/y",
            {
                "memory/slurm/uid_0/job_1/memory.limit_in_bytes": "8192",
                "memory/slurm/memory.limit_in_bytes": "9223372036854771712",
                "cpu/x/memory.limit_in_bytes": "1",
            },
            8192,
        ),
        ("0::/", {"memory.max": str(1 << 62)}, None),  # more than there is
    ],
)
def test_memory_is_what_the_control_group_leaves(tmp_path, cgroup, limits, wanted):
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(f"{cgroup}\n")
    for name, text in limits.items():
        path = tmp_path / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    machine = runtime.usable_memory(tmp_path / "nothing")
    assert machine > 1 << 28
    assert runtime.usable_memory(tmp_path) == (wanted or machine)
    assert runtime.usable_memory() <= machine


def test_cache_gives_way_to_the_users_own_and_to_a_home_that_cannot_be_written(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", "/somewhere")
        runtime.configure()
        assert jax.config.jax_compilation_cache_dir == "/somewhere"
        (tmp_path / "jaxvision").write_text("a file where the folder should be")
        jax.config.update("jax_compilation_cache_dir", None)
        runtime.configure()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_user_without_a_home_is_one_line(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert runtime.user_cache() == Path("/somewhere")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert runtime.user_cache() == Path.home() / ".cache"

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(UserError, match="there is no home folder here: set XDG_CACHE_HOME"):
        runtime.user_cache()


def test_options_reach_the_compiler_on_cpu_only(monkeypatch):
    assert runtime.compiler_options()
    assert float(runtime.jit(jnp.sin, static_argnums=())(0.0)) == 0.0
    monkeypatch.setattr(runtime, "_MANY_THREADS", {})
    monkeypatch.setattr(runtime, "CPU_OPTIONS", {"xla_no_such_option": "1"})
    assert runtime.compiler_options() == {}
    monkeypatch.undo()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert runtime.compiler_options() == {}
    monkeypatch.undo()
    monkeypatch.setenv("JAXVISION_DISABLE", "options")
    assert runtime.compiler_options() == {}


def test_conv_switch(monkeypatch):
    monkeypatch.setenv("JAXVISION_DISABLE", "conv")
    program = jax.make_jaxpr(lambda x: conv2d(x, x))(jnp.ones((1, 3, 1, 1)))
    assert "conv_general_dilated" in str(program)


def test_the_environment_says_how_many_cores_there_are(monkeypatch):
    """So that a run is laid out alike on every machine of a cluster."""
    monkeypatch.setenv("JAXVISION_CORES", "7")
    assert runtime.usable_cores() == 7
    for wrong in ("0", "-1", "2.5", "two"):
        monkeypatch.setenv("JAXVISION_CORES", wrong)
        with pytest.raises(UserError, match=f"JAXVISION_CORES={wrong}: give a number of cores"):
            runtime.usable_cores()
    monkeypatch.setenv("JAXVISION_CORES", "")
    assert runtime.usable_cores() >= 1
