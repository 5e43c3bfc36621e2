"""Train a recipe of ``jaxvision.recipes`` and the same by PyTorch: test errors and minutes.

``python -m benchmarks.recipe --torch_python=PATH``, PATH as for ``benchmarks.run``. First ours, on
all cores, which goes on where it was stopped, and is not trained again once it is in the user's
cache. Then PyTorch from the same arrays, left for it in a temporary folder: the same net,
He-normal kernels, rate of every step, augmentation, smoothed labels, decay of kernels alone and
batch size, channels_last, an evaluation an epoch. Use a quiet machine: the two do not take turns.

Appends to ``benchmarks/recipe.json`` and prints Markdown.
"""

import argparse
import dataclasses
import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.team import ROOT, append_result, environment, machine
from jaxvision import nets, recipes, runtime
from jaxvision.nets import Spec, Trained


def shortened(spec: Spec, epochs: int | None, images: int) -> Spec:
    """Return the recipe in so many epochs of its images, its curve drawn together."""
    if epochs is None:
        return spec
    steps = epochs * (images // spec.batch_size)
    return dataclasses.replace(spec, steps=steps, warm_up=spec.warm_up * steps // spec.steps)


def export(spec: Spec, found: Trained, folder: Path) -> None:
    """Leave the spec and the arrays in a folder; inputs are ``low + span * images``."""
    train, test = found.data.train, found.data.test
    ends = np.stack([np.full_like(train.images[0], value) for value in (0, 255)])
    low, high = np.asarray(found.preprocess(ends, None))
    np.savez(
        folder / "data.npz",
        images=train.images,
        labels=train.labels,
        test_images=test.images,
        test_labels=test.labels,
        low=low,
        span=(high - low) / 255,
    )
    (folder / "spec.json").write_text(json.dumps(dataclasses.asdict(spec)))


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


def markdown(entry: dict) -> str:
    """Return the table."""
    lines = [
        f"{entry['recipe']}, {entry['machine']}\n",
        "| | test images that are right | minutes |",
        "|---|---|---|",
    ]
    for name, result in entry["results"].items():
        right = 100 * (1 - result["test_error"])
        lines.append(f"| {name} | {right:.2f} % | {result['seconds'] / 60:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, train, append, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch_python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--recipe", choices=tuple(recipes.RECIPES), default="cifar10_fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for a trial")
    parser.add_argument("--nets", help="folder of trained nets (default: in the user's cache)")
    options = parser.parse_args()
    runtime.configure()
    spec = shortened(recipes.RECIPES[options.recipe], options.epochs, 50_000)
    found = nets.trained(spec, (options.seed,), directory=options.nets, resumable=True)
    ours = {"test_error": found.test_error[0].item(), "seconds": found.seconds[0].item()}
    print(f"jaxvision: {ours}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        export(spec, found, Path(folder))
        theirs = torch_result(options.torch_python, Path(folder))
    entry = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "recipe": options.recipe,
        "spec": dataclasses.asdict(spec),
        "seed": options.seed,
        "results": {"jaxvision": ours, "PyTorch": theirs},
    }
    append_result("recipe", entry)
    print(markdown(entry))


if __name__ == "__main__":
    main()
