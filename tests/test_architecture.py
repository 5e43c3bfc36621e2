"""The architecture in code: who may import whom. Reads the source, runs none of it."""

import ast
import importlib.util
from pathlib import Path

import pytest

from experiments.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[1]

# A name covers the module or package and all below it. Imports point down or stay on the floor, and
# never run in a circle.
FLOORS = {
    7: ("experiments", "jaxvision.__main__"),
    6: ("jaxvision.cli", "jaxvision.nets", "jaxvision.recipes", "jaxvision.sweeps"),
    5: (
        "jaxvision.cluster",
        "jaxvision.dynamics",
        "jaxvision.longrun",
        "jaxvision.adversarial",
        "jaxvision.attribution",
        "jaxvision.generative",
    ),
    4: ("jaxvision.training",),
    3: ("jaxvision.models", "jaxvision.parallel"),
    2: (
        "jaxvision.data",
        "jaxvision.report",
        "jaxvision.convolution",
        "jaxvision.conv_transpose",
        "jaxvision.act_conv",
        "jaxvision.native",
    ),
    1: (
        "jaxvision.arguments",
        "jaxvision.fields",
        "jaxvision.initializers",
        "jaxvision.interrupts",
        "jaxvision.launch",
        "jaxvision.leash",
        "jaxvision.progress",
        "jaxvision.random",
        "jaxvision.relu",
        "jaxvision.runtime",
        "jaxvision.taps",
        "jaxvision.terminal",
        "jaxvision.trees",
        "jaxvision.types",
    ),
}

# Libraries that only one room of the house may import.
ONLY_IN = {
    "flax": "jaxvision.models",
    "sklearn": "jaxvision.data",
    "tensorflow_datasets": "jaxvision.data",
    "pyarrow": "jaxvision.data",
    "orbax": "jaxvision.longrun",
    "dask": "jaxvision.cluster",
    "distributed": "jaxvision.cluster",
}

# What finds and starts experiments may import any of them.
ENTRANCES = (
    "experiments",
    "experiments.__main__",
    "experiments.catalog",
    "experiments.exps",
)

# The report is made on the host, from records: it never traces.
NOT_AT_MODULE_LEVEL = {"jaxvision.report": ("jax", "flax", "optax")}

LONGEST_MODULE = 350
DATA = ("experiments.catalog",)  # grows by an entry with every experiment
LONGEST_FUNCTION = 40  # lines
UNFORMATTED = 4  # experiments whose table of claims keeps a layout of its own: no more of them


def violations(sources: dict[str, str]) -> list[str]:
    """Return one sentence for each import in ``{module: source}`` that the tables forbid."""
    found = []
    graph = {}
    for module, source in sources.items():
        floor = floor_of(module)
        if floor is None:
            found.append(f"{module} stands on no floor: give it one in FLOORS")
            continue
        wanted = imports(module, ast.parse(source), sources)
        graph[module] = wanted & sources.keys()
        for other in sorted(wanted):
            library = other.split(".")[0]
            if other in sources and (floor_of(other) or 0) > floor:
                found.append(f"{module} imports {other}, which stands above it")
            if other in sources and is_foreign(module, other):
                found.append(
                    f"{module} imports {other}: an experiment uses its theme's helpers alone"
                )
            if library in ("tests", "benchmarks"):
                found.append(f"{module} imports {other}, which is no part of the library")
            if library in ONLY_IN and not within(module, ONLY_IN[library]):
                found.append(f"{module} imports {library}: only {ONLY_IN[library]} may")
        at_once = imports(module, outside_functions(source), sources)
        for room, libraries in NOT_AT_MODULE_LEVEL.items():
            for library in sorted({name.split(".")[0] for name in at_once} & set(libraries)):
                if within(module, room):
                    found.append(f"{module} imports {library} at module level")
    if circle := first_circle(graph):
        found.append(f"imports run in a circle: {' -> '.join(circle)}")
    return found


def is_foreign(module: str, other: str) -> bool:
    """Whether ``other`` is an experiment, or the helper of another theme than ``module``'s."""
    if not within(module, "experiments") or not within(other, "experiments"):
        return False
    if module in ENTRANCES or other == "experiments.catalog":
        return False
    (theme, _), (other_theme, _, name) = module.rsplit(".", 1), other.rpartition(".")
    return theme != other_theme or not name.startswith("_")


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def floor_of(module: str) -> int | None:
    if module == "jaxvision":
        return max(FLOORS)  # the door: its public names come from all floors
    return next((f for f, rooms in FLOORS.items() if any(within(module, r) for r in rooms)), None)


def imports(module: str, tree: ast.AST, sources: dict[str, str]) -> set[str]:
    """Return the absolute names that ``tree`` imports; ``from a import b`` is a.b if a module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # Relative imports start at the module's package, one level up for each further dot.
            package = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                names.add(name if name in sources else base)
    return names


def outside_functions(source: str) -> ast.Module:
    """Return the tree without function bodies: what runs when the module is imported."""

    class Prune(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        visit_AsyncFunctionDef = visit_FunctionDef

    return Prune().visit(ast.parse(source))


def first_circle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import one another in turn, or nothing (depth-first search)."""
    cleared: set[str] = set()

    def search(path: list[str]) -> list[str]:
        for other in sorted(graph.get(path[-1], set()) - cleared):
            if other in path:
                return [*path[path.index(other) :], other]
            if circle := search([*path, other]):
                return circle
        cleared.add(path[-1])
        return []

    return next((circle for module in sorted(graph) if (circle := search([module]))), [])


def sources_of_the_house() -> dict[str, str]:
    """Return ``{module: source}``; a package goes by its own name."""
    files = [*ROOT.glob("jaxvision/**/*.py"), *ROOT.glob("experiments/**/*.py")]
    names = (path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in files)
    return {
        name.removesuffix(".__init__"): path.read_text(encoding="utf-8")
        for name, path in zip(names, files, strict=True)
    }


def test_the_house_keeps_its_floors():
    assert violations(sources_of_the_house()) == []


def test_functions_fit_a_screen():
    """Docstrings apart; a table of claims is as long as its claims."""
    long = {}
    for name, text in sources_of_the_house().items():
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef) or returns_claims(node):
                continue
            docstring = ast.get_docstring(node, clean=False) or ""
            lines = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
            if lines > LONGEST_FUNCTION:
                long[f"{name}.{node.name}"] = lines
    assert long == {}


def returns_claims(node):
    return node.returns is not None and "Claim]" in ast.unparse(node.returns)


def test_modules_are_short():
    lengths = {name: len(text.splitlines()) for name, text in sources_of_the_house().items()}
    long = {name: n for name, n in lengths.items() if n > LONGEST_MODULE and name not in DATA}
    assert long == {}


def test_the_formatter_lays_out_all_but_tables_of_claims():
    found = {}
    for name, text in sources_of_the_house().items():
        lines = [line for line in text.splitlines() if "fmt: skip" in line or "fmt: off" in line]
        if lines:
            found[name] = [line.strip() for line in lines]
    assert {tuple(lines) for lines in found.values()} <= {("]  # fmt: skip",)}
    assert all(name.startswith("experiments.") for name in found)
    assert len(found) <= UNFORMATTED


def test_catalog_and_files_agree():
    files = {(path.parent.name, path.stem) for path in ROOT.glob("experiments/*/[!_]*.py")}
    assert {(entry.theme, entry.name) for entry in CATALOG} == files
    assert len({entry.name for entry in CATALOG}) == len(CATALOG)


def test_old_commands_find_a_moved_experiment():
    for entry in CATALOG:
        found = importlib.util.find_spec(f"experiments.{entry.name}")
        assert Path(found.origin).parent.name == entry.theme


ALLOWED = {
    "jaxvision": "from jaxvision.models import mlp",
    "jaxvision.types": "import jax",
    "jaxvision.trees": "from jaxvision.types import Array",
    "jaxvision.models.mlp": "import flax.linen as nn\nfrom .layers import dense",
    "jaxvision.models.layers": "from jaxvision import trees",
    "jaxvision.report.record": "import numpy\ndef versions():\n    import jax\n",
    "experiments.depth._blocks": "from jaxvision.trees import dot",
    "experiments.depth.plain": "from jaxvision.models import mlp\nfrom ._blocks import lesion",
}


def test_allowed_imports_pass():
    assert violations(ALLOWED) == []


@pytest.mark.parametrize(
    ("module", "source", "sentence"),
    [
        ("jaxvision.taps", "from jaxvision.models import mlp", "stands above it"),
        ("jaxvision.taps", "from .models.mlp import MLP", "stands above it"),
        ("jaxvision.taps", "def f():\n    import experiments.depth.plain", "stands above it"),
        ("jaxvision.types", "from jaxvision.trees import dot", "in a circle"),
        ("experiments.depth.edge", "from experiments.depth.plain import Config", "helpers alone"),
        ("experiments.depth.edge", "from . import plain", "helpers alone"),
        ("experiments.data.edge", "from experiments.depth import _blocks", "helpers alone"),
        ("experiments.depth.edge", "from flax import linen", "only jaxvision.models may"),
        ("jaxvision.report.plots", "if True:\n    import jax.numpy", "at module level"),
        ("jaxvision.training.fit", "from tests import helper", "no part of the library"),
        ("jaxvision.dynamics.edge", "import jaxvision", "stands above it"),
        ("jaxvision.attic", "", "no floor"),
    ],
)
def test_forbidden_imports_are_caught(module, source, sentence):
    caught = violations({**ALLOWED, module: source})
    assert len(caught) == 1
    assert sentence in caught[0]
