"""Train a recipe of ``jaxvision.recipes`` and the same by PyTorch: test errors and minutes.

``python -m benchmarks.recipe --torch_python=PATH``, PATH as for ``benchmarks.run``. First ours, on
all cores, which goes on where it was stopped, and is not trained again once it is in the user's
cache. Then PyTorch from the same arrays, left for it in a temporary folder: the same net, whitening
and first weights, rate of every step, augmentation, smoothed labels, decay of kernels alone and
batch size, channels_last, an evaluation an epoch. Use a quiet machine: the two do not take turns.
Both are tested on the test images alone, and with the logits of their mirror images added.

``--rounds=N`` trains nothing to its end: both sides take turns at some steps, N times each. Before
that the losses of six steps on the first images must agree. ``--cores=1`` compares the CPU time on
one core, which is as good as it gets on a busy machine.

Appends to ``benchmarks/recipe.json`` and prints Markdown.
"""

import argparse
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import problems
from benchmarks.recipe_jax import SEED
from benchmarks.team import ROOT, Team, append_result, environment, machine, summary
from jaxvision import nets, recipes, runtime
from jaxvision.nets import Spec
from jaxvision.nets.training import Net
from jaxvision.training.arms import make_runs
from jaxvision.trees import named_leaves

RECIPES = ("cifar10_fast", "cifar10_wide")
TOLERANCE = 2e-3  # of losses, relative


def shortened(spec: Spec, epochs: int | None, images: int) -> Spec:
    """Return the recipe in so many epochs of its images, its curve drawn together."""
    if epochs is None:
        return spec
    steps = epochs * (images // spec.batch_size)
    return dataclasses.replace(spec, steps=steps, warm_up=spec.warm_up * steps // spec.steps)


def export(net: Net, seed: int, folder: Path) -> None:
    """Leave the spec and the arrays in a folder; inputs are ``low + span * images``.

    The weights that the seed starts from are there by their names, beginning with ``params/`` or
    ``batch_stats/``.
    """
    train, test = net.data.train, net.data.test
    ends = np.stack([np.full_like(train.images[0], value) for value in (0, 255)])
    low, high = np.asarray(net.standardize(ends, None))
    runs = make_runs({"net": net.arm(net.spec.learning_rate)}, [seed])
    start = {name: leaf[0] for name, leaf in named_leaves(runs.variables).items()}
    np.savez(
        folder / "data.npz",
        images=train.images,
        labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
        low=low,
        span=(high - low) / 255,
        **start,
    )
    (folder / "spec.json").write_text(json.dumps(dataclasses.asdict(net.spec)))


def torch_result(torch_python: str, folder: Path) -> dict:
    """Return PyTorch's test errors by epoch and seconds; its lines go to stderr."""
    done = subprocess.run(
        [torch_python, "-m", "benchmarks.recipe_torch", str(folder)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def whole_trainings(spec: Spec, options: argparse.Namespace, folder: Path) -> dict[str, dict]:
    """Return test error and seconds of both sides."""
    found = nets.trained(spec, (options.seed,), directory=options.nets, resumable=True)
    ours = {
        "test_error": found.test_error[0].item(),
        "mirrored_error": recipes.mirrored_error(found)[0].item(),
        "seconds": found.seconds[0].item(),
    }
    print(f"jaxvision: {ours}", file=sys.stderr, flush=True)
    export(Net(spec), options.seed, folder)
    return {"jaxvision": ours, "PyTorch": torch_result(options.torch_python, folder)}


def timed_steps(spec: Spec, options: argparse.Namespace, folder: Path) -> dict[str, dict]:
    """Return milliseconds a step of both sides, and the losses of the first ones."""
    export(Net(spec), SEED, folder)
    workers = {
        "jaxvision": [sys.executable, "-m", "benchmarks.recipe_jax"],
        "PyTorch": [options.torch_python, "-m", "benchmarks.recipe_torch"],
    }
    teams = {name: Team(command, options.cores) for name, command in workers.items()}
    found = {name: team.prepare(str(folder)) for name, team in teams.items()}
    check(*(facts["losses"] for facts in found.values()))
    samples = {name: [] for name in teams}
    for _ in range(options.rounds):
        for name, team in teams.items():
            samples[name].append(team.sample(str(folder), problems.PERIOD))
    for name, team in teams.items():
        found[name] |= summary(samples[name], options.cores) | {"samples": samples[name]}
        team.close()
    return found


def check(ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Raise unless the losses agree; a NaN never does."""
    if not np.allclose(ours, theirs, rtol=TOLERANCE):
        raise RuntimeError(f"losses part: ours {ours}, PyTorch's {theirs}")


def markdown(entry: dict) -> str:
    """Return the table."""
    is_timed = "rounds" in entry
    columns = "ms a step" if is_timed else "right test images | with their mirror images | minutes"
    lines = [
        f"{entry['recipe']}, {entry['machine']}\n",
        f"| | {columns} |",
        "|---|---|" if is_timed else "|---|---|---|---|",
    ]
    for name, result in entry["results"].items():
        if is_timed:
            lines.append(f"| {name} | {result['ms']:.0f} |")
            continue
        right, mirrored = (
            f"{100 * (1 - result[error]):.2f} %" for error in ("test_error", "mirrored_error")
        )
        lines.append(f"| {name} | {right} | {mirrored} | {result['seconds'] / 60:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, train or time, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for a trial")
    parser.add_argument("--nets", help="folder of trained nets (default: in the user's cache)")
    parser.add_argument("--rounds", type=int, default=0, help="time some steps so often, instead")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    runtime.configure()
    spec = shortened(recipes.RECIPES[options.recipe], options.epochs, 50_000)
    entry = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "recipe": options.recipe,
        "spec": dataclasses.asdict(spec),
    }
    with tempfile.TemporaryDirectory() as folder:
        if options.rounds:
            entry |= {"rounds": options.rounds, "cores": options.cores}
            entry["results"] = timed_steps(spec, options, Path(folder))
        else:
            entry["seed"] = options.seed
            entry["results"] = whole_trainings(spec, options, Path(folder))
    append_result("recipe", entry)
    print(markdown(entry))


if __name__ == "__main__":
    main()
