"""From results to goals and pages: ``python -m benchmarks.tables`` prints those of results.json."""

import json
from pathlib import Path
from typing import NamedTuple

from benchmarks import problems
from benchmarks.cases import FLAX, OURS, PURE, TORCH, TORCHES

RESULTS = Path(__file__).with_name("results.json")
NAMES = {
    "resnet20": "ResNet-20 (CIFAR), batch 128",
    "conv32": "30 conv layers, width 32, 8x8, 8 seeds; a seed",
    "conv16": "30 conv layers, width 16, 8x8, 8 seeds; a seed",
    "mlp": "MLP 30 x 64, 8 seeds; a seed",
}


class Goal(NamedTuple):
    """What the project promises of a number: at most, or at least, a limit."""

    name: str
    found: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is so; a number that is none meets nothing."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit


# (net, implementation that ours is compared with, most that ours may take of its time)
STEP_GOALS = (
    ("resnet20", TORCH, 0.80),
    ("conv32", TORCH, 0.65),
    ("conv32", TORCHES, 0.80),
    ("conv16", TORCH, 0.60),
    ("mlp", TORCH, 0.20),
    ("mlp", TORCHES, 0.50),
)
LEAST_IMAGES = 1.2  # of PyTorch's a second
MOST_BESIDE = 2.0  # times as slow beside one busy process
MOST_MB = 650.0


def steps_table(results: dict) -> dict[str, dict[str, dict]]:
    """Return {net: {implementation: what was measured}} on as many cores as there were."""
    return results["steps"][max(results["steps"], key=int)]


def goals(results: dict) -> list[Goal]:
    """Return the goals whose numbers are there, in the order of the issue's table."""
    found, table = [], steps_table(results)
    for net, other, most in STEP_GOALS:
        row = table.get(net, {})
        if OURS in row and other in row:
            name = f"{net}, a step / {other}"
            found.append(Goal(name, row[OURS]["ms"] / row[other]["ms"], most))
    if "images" in results:
        rows = results["images"]["rows"]
        ours, torch = (
            rows[f"resnet20 {name}"]["images_per_s"]
            for name in ("jaxvision, one run", "torch channels_last")
        )
        name = "resnet20, images a second, augmentation and evaluation included / PyTorch"
        found.append(Goal(name, ours / torch, LEAST_IMAGES, at_least=True))
    if "beside" in results:
        slower = results["beside"][OURS]["slower"]
        found.append(Goal("resnet20 beside a busy process / alone", slower, MOST_BESIDE))
    for steps, mb in results.get("peak_mb", {}).get(OURS, {}).items():
        found.append(Goal(f"resnet20, peak memory after {steps} steps, MB", mb, MOST_MB))
    if "compile_cpu_s" in results:
        times = results["compile_cpu_s"]
        found.append(Goal("compile time, 1000 layers / 30", times["1000"] / times["30"], 1.2))
    if "start_s" in results:
        start = results["start_s"]
        found.append(Goal("warm start / PyTorch", start["jaxvision warm"] / start["torch"], 1.0))
    return found


def goals_table(results: dict) -> list[str]:
    """Return the lines of the goals."""
    lines = ["| goal | reached | limit | |", "|---|---|---|---|"]
    for goal in goals(results):
        limit = f"at {'least' if goal.at_least else 'most'} {goal.limit:g}"
        verdict = "met" if goal.met else "**missed**"
        reached = f"{goal.found:.0f}" if goal.found >= 100 else f"{goal.found:.2f}"
        lines.append(f"| {goal.name} | {reached} | {limit} | {verdict} |")
    return lines


def steps_lines(results: dict) -> list[str]:
    """Return the tables of milliseconds a step, one for each number of cores."""
    lines = []
    for cores, table in results["steps"].items():
        kind = "CPU-ms" if cores == "1" else "ms"
        others = (TORCH, TORCHES, FLAX, PURE)
        lines += [
            f"\n{kind} a step (and seed), cores={cores}; in brackets ours over theirs\n",
            f"| | {' | '.join((OURS, *others))} | clean samples |",
            "|---|---|---|---|---|---|---|",
        ]
        for net, row in table.items():
            ours = row[OURS]["ms"]
            cells = [
                f"{row[name]['ms']:.2f} ({ours / row[name]['ms']:.2f})" if name in row else ""
                for name in others
            ]
            clean = f"{sum(r['clean'] for r in row.values())}"
            samples = sum(len(r["samples"]) for r in row.values())
            lines.append(f"| {NAMES[net]} | {ours:.2f} | {' | '.join(cells)} | {clean}/{samples} |")
    return lines


def bound_lines(results: dict) -> list[str]:
    """Return how near each is to the matmul peak, and the least ratio that the peak allows.

    No float32 kernel beats the peak (but by algorithms that change the numbers): where PyTorch is
    near it already, no goal below that ratio can be reached on this machine.
    """
    peak = results["images"]["peaks"]["float32"]
    lines = [
        "\n| | ours, of the peak | PyTorch's best | least ours / PyTorch |",
        "|---|---|---|---|",
    ]
    for net, row in steps_table(results).items():
        least = 1e3 * problems.step_flops(net) / peak
        times = [row[name]["ms"] for name in (TORCH, TORCHES) if name in row]
        if OURS in row and times:
            ours, torch = row[OURS]["ms"], min(times)
            shares = f"{least / ours:.0%} | {least / torch:.0%} | {least / times[0]:.2f}"
            lines.append(f"| {NAMES[net]} | {shares} |")
    return lines


def other_lines(results: dict) -> list[str]:
    """Return images a second, slow-down, memory, compile times and starts, where they are there."""
    lines = []
    if "images" in results:
        rates = ", ".join(
            f"{row['label']} {row['images_per_s']:.0f} ({row['utilization']:.0%} of the peak)"
            for row in results["images"]["rows"].values()
        )
        lines.append(f"\nimages a second, augmentation and evaluation included: {rates}")
    if "beside" in results:
        slower = ", ".join(f"{name} {r['slower']:.2f}" for name, r in results["beside"].items())
        lines.append(f"times as slow beside one busy process: {slower}")
    for name, by_steps in results.get("peak_mb", {}).items():
        after = ", ".join(f"{mb:.0f} after {steps} steps" for steps, mb in by_steps.items())
        lines.append(f"peak memory of {name}, MB: {after}")
    for name, what in (("compile_cpu_s", "compile CPU s by layers"), ("start_s", "start, s")):
        if name in results:
            values = ", ".join(f"{key}: {value:.3g}" for key, value in results[name].items())
            lines.append(f"{what}: {values}")
    return lines


def readme_lines(results: dict) -> list[str]:
    """Return the README's four rows: ours over PyTorch's."""
    table = steps_table(results)

    def over(net: str, other: str = TORCH) -> str:
        row = table.get(net, {})
        if OURS not in row or other not in row:
            return "-"
        return f"{row[OURS]['ms'] / row[other]['ms']:.2f}".lstrip("0")

    lines = [
        "| on two CPU cores | ours / PyTorch, in time |",
        "|---|---|",
        f"| a step of ResNet-20, batch 128 | {over('resnet20')} |",
        "| 8 seeds of a 30-layer net: MLP; conv net of 16, of 32 channels | "
        f"{over('mlp')}; {over('conv16')}; {over('conv32')} |",
        "| the same beside one PyTorch a core | "
        f"{over('mlp', TORCHES)}; {over('conv16', TORCHES)}; {over('conv32', TORCHES)} |",
    ]
    if "images" in results:
        rows = results["images"]["rows"].values()
        base = next(r["images_per_s"] for r in rows if r["label"] == "torch channels_last")
        ours = next(r["images_per_s"] for r in rows if r["label"] == "jaxvision, one run")
        ratio = f"{base / ours:.2f}".lstrip("0")
        lines.append(
            f"| images through ResNet-20, augmentation and evaluation included | {ratio} |"
        )
    return lines


def markdown(results: dict) -> str:
    """Return all tables."""
    lines = [f"{results['machine']}, {results['started']}"]
    lines += steps_lines(results)
    if "images" in results:
        peaks = results["images"]["peaks"]
        lines.append(f"\nmatmul peak, GFLOP/s on all cores: {peaks['float32'] / 1e9:.0f}")
        lines += bound_lines(results)
    lines += [*other_lines(results), "", *goals_table(results)]
    return "\n".join([*lines, "", "For README.md:", "", *readme_lines(results)])


if __name__ == "__main__":
    print(markdown(json.loads(RESULTS.read_text())))
