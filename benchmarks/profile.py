"""Where a step of jaxvision's goes, by kind of instruction, on one single-threaded device.

    python -m benchmarks.profile [NET ...]

The nets are those of ``benchmarks.run``, trained as there: the steps of a period in one call. The
time of every instruction comes from JAX's profiler and its kind from the optimized program. "At the
peak" is what the multiplications would take at the rate of a large matrix product; "between" is
what no instruction accounts for. Prints Markdown: milliseconds a run and step, shares in brackets.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

RUNS = {"resnet20": 1, "conv32": 4, "conv16": 4, "mlp": 4}  # of eight on two devices, four each


def measure(net: str) -> dict:
    """Return what ``benchmarks.profile_jax`` finds of a net, in a process of its own."""
    with tempfile.TemporaryDirectory() as dump:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={dump} --xla_dump_hlo_as_text"
        # A program that comes from a cache is not written.
        disabled = ",".join(filter(None, [os.environ.get("JAXVISION_DISABLE"), "cache"]))
        command = [sys.executable, "-m", "benchmarks.profile_jax", net]
        command += [f"--runs={RUNS[net]}", f"--dump={dump}"]
        env = os.environ | {"XLA_FLAGS": flags, "JAXVISION_DISABLE": disabled}
        answer = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(answer.stdout.splitlines()[-1])


def table(found: dict[str, dict]) -> str:
    """Return the Markdown table of what was measured, a column a net."""
    nets = list(found)
    rows = [f"| | {' | '.join(nets)} |", f"|---|{'---|' * len(nets)}"]

    def row(label: str, seconds: list[float]) -> str:
        cells = [
            f"{1e3 * value:.3g} ({value / found[net]['whole']:.0%})"
            for net, value in zip(nets, seconds, strict=True)
        ]
        return f"| {label} | {' | '.join(cells)} |"

    rows.append(row("all", [found[net]["whole"] for net in nets]))
    for kind in found[nets[0]]["kinds"]:
        rows.append(row(kind, [found[net]["kinds"][kind] for net in nets]))
    between = [found[net]["whole"] - sum(found[net]["kinds"].values()) for net in nets]
    rows.append(row("between", between))
    rows.append(row("multiplications, at the peak", [found[net]["least"] for net in nets]))
    return "\n".join(rows)


def main() -> None:
    """Measure the nets that are asked for, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets", nargs="*", default=list(RUNS), metavar="NET", help=", ".join(RUNS))
    nets = parser.parse_args().nets
    if unknown := [net for net in nets if net not in RUNS]:
        parser.error(f"{unknown[0]} is none of {', '.join(RUNS)}")
    print(table({net: measure(net) for net in nets}))


if __name__ == "__main__":
    main()
