"""What the pages say is there: paths, commands, flags, links, the README's code, the index."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import COMMANDS
from experiments.catalog import CATALOG

ROOT = Path(__file__).resolve().parents[1]
NOTES = ROOT / "BUILD_NOTES.md"
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
TOP = ("experiments", "jaxvision", "tests", "docs", "benchmarks")
NAMES = {entry.name for entry in CATALOG}
FOREIGN_FLAGS = {"python", "signal", "array", "ntasks", "cpus"}  # of uv, of SLURM
FOREIGN_FLAGS |= {"nthreads", "nworkers", "xla_gpu_deterministic_ops"}  # of Dask, of XLA
LONGEST_LINE, LONGEST_ENTRY = 120, 10  # characters, lines


def by_name(path):
    return path.relative_to(ROOT).as_posix()


def code_of(text):
    """Return the page's code: blocks in fences, indented blocks, spans in backticks."""
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4}.*$", prose, re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return "\n".join([*fences, *indented, *spans]).replace("\\\n", " ")


def missing_paths(text):
    """Return the paths below the repository's folders that the code names and that are not."""
    pattern = rf"(?<![\w/.])(?:{'|'.join(TOP)})/[\w./-]*"
    paths = {path for path in re.findall(pattern, code_of(text)) if not re.search("[A-Z]{4}", path)}
    return sorted(path for path in paths if not (ROOT / path).exists())


def missing_targets(text):
    """Return the make targets that the code names and that the Makefile lacks."""
    rules = set(re.findall(r"^([a-z]+(?:-all)?):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    rules |= {f"{verb}-{name.replace('_', '-')}" for verb in ("exp", "plot") for name in NAMES}
    named = re.findall(r"\bmake ([a-z][a-z0-9_-]*)", code_of(text))
    return sorted(name for name in named if name not in rules and not name.startswith("data-"))


def missing_modules(text):
    """Return the modules after ``python -m`` that are not ours, and experiments that are none."""
    found = []
    for module, argument in re.findall(r"python -m ([\w.]+)(?: (\w+))?", code_of(text)):
        path = ROOT / module.replace(".", "/")
        if not (path.with_suffix(".py").exists() or (path / "__main__.py").exists()):
            found.append(module)
        if module == "experiments" and argument not in {*NAMES, *COMMANDS, "NAME", ""}:
            found.append(argument)
    return found


def named_flags(text):
    """Return the names of the flags in the code, but for those of other programs."""
    names = re.findall(r"(?<![\w-])--(?:no)?(\w+)", code_of(text))
    return set(names) - FOREIGN_FLAGS


def slug(heading):
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(text, page):
    """Return the local links, with their anchors, that lead nowhere."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place) if place else page
        if not target.exists():
            broken.append(link)
        elif anchor:
            content = text if target == page else target.read_text()
            if anchor not in map(slug, re.findall(r"^#+ (.+)$", content, re.MULTILINE)):
                broken.append(link)
    return broken


def long_lines(text):
    """Return the lines over the limit that could be broken: tables and the index cannot."""
    lines = (line for line in text.splitlines() if not re.match(r"\||- \d{4}-", line))
    return [line for line in lines if len(line) > LONGEST_LINE]


@pytest.mark.parametrize("page", [*PAGES, NOTES], ids=by_name)
def test_links_resolve_and_lines_are_short(page):
    text = page.read_text()
    assert broken_links(text, page) == []
    assert long_lines(text) == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_paths_targets_and_modules_exist(page):
    text = page.read_text()
    assert missing_paths(text) == []
    assert missing_targets(text) == []
    assert missing_modules(text) == []


def test_the_checks_see_what_is_wrong():
    page = ROOT / "README.md"
    assert missing_paths("`docs/nosuch.md` and `docs/protocol.md`") == ["docs/nosuch.md"]
    assert missing_targets("`make nosuch`, `make exp-nosuch`, `make test`, `make data-x`") == [
        "exp-nosuch",
        "nosuch",
    ]
    assert missing_modules("```\npython -m experiments nosuch\npython -m jaxvision.no\n```") == [
        "nosuch",
        "jaxvision.no",
    ]
    assert named_flags("`--seeds=3` --steps, `--noresume`, `--signal=TERM`") == {"seeds", "resume"}
    links = "[a](docs/no.md) [b](#no) [c](docs/protocol.md#verdicts) [d](https://x.org)\n# Yes"
    assert broken_links(links, page) == ["docs/no.md", "#no"]
    assert len(long_lines("x" * 121 + "\n| " + "x" * 121)) == 1


def test_flags_exist():
    named = set().union(*(named_flags(page.read_text()) for page in PAGES))
    # Of the benchmarks, of every command, of experiments with shared nets.
    known = {"torch_python", "other_python", "rounds", "help", "nets", "recipe"}
    for experiment in ("he_init", "plain_vs_residual", "exps"):
        command = [sys.executable, "-m", "experiments", experiment, "--help"]
        shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        known |= set(re.findall(r"--(?:\[no\])?(\w+)", shown.stdout))
    assert named - known == set()


def readme_code():
    text = (ROOT / "README.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_readme_s_look_at_a_foreign_net_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = readme_code()
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "net.png").exists()
    handed_on = 2 ** names["watched"].octaves_per_layer()
    assert f"hands on {handed_on:.2f} of".replace("0.", ".") in (ROOT / "README.md").read_text()


def test_what_a_verdict_means_stands_before_the_first_table():
    text = (ROOT / "README.md").read_text()
    begin, end = (text.index(f"<!-- experiments: {word} -->") for word in ("begin", "end"))
    for verdict in ("*Reproduced*", "*Contradicted*", "*Inconclusive*", "*not run*"):
        assert text.index(verdict) < begin < end
    assert "\n|" not in text[:begin]


def test_nobody_is_sent_to_a_package_that_is_not_ours():
    for page in [*PAGES, NOTES]:
        assert not re.search(r"pip install '?jaxvision", page.read_text())


def entries():
    """Return {title: (date, body)} of the log, in its order."""
    found, date = {}, ""
    for line in NOTES.read_text().splitlines():
        if line.startswith("## "):
            date = line[3:]
        elif line.startswith("### "):
            title = line[4:]
            found[title] = date, []
        elif found and line and not line.startswith("<!--"):
            found[title][1].append(line)
    return found


def test_the_array_of_slurm_has_a_job_for_every_experiment():
    text = (ROOT / "docs" / "many_hosts.md").read_text()
    assert f"#SBATCH --array=0-{len(CATALOG) - 1} " in text


def test_the_index_names_entries_and_their_dates():
    dates = {title: date for title, (date, _) in entries().items()}
    index = re.findall(r"^- (\S+): .+ \[(.+)\]\(#(.+)\)$", NOTES.read_text(), re.MULTILINE)
    assert len(index) == NOTES.read_text().count("\n- 20")
    for date, title, anchor in index:
        assert (dates.get(title), slug(title)) == (date, anchor)
    assert sorted(dates.values(), reverse=True) == list(dates.values())


def test_an_entry_is_a_decision_with_its_evidence():
    for title, (_, body) in entries().items():
        words = re.findall(r"^\*([A-Z][a-z ]+)\.\*", "\n".join(body), re.MULTILINE)
        assert words in (["Decision", "Evidence"], ["Decision", "Evidence", "Left open"]), title
        assert len(body) <= LONGEST_ENTRY, title


def test_the_protocol_names_the_seeds_of_every_record():
    text = (ROOT / "docs" / "protocol.md").read_text()
    rows = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.count("|") == 8]
    judged = {row[1].strip(): row[4].strip() for row in rows[2:]}
    assert list(judged) == [entry.name for entry in CATALOG]
    for name, cell in judged.items():
        path = ROOT / "experiments" / "results" / name / "record.json"
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
        if "seeds" not in config:
            assert cell == "nothing random", name
            continue
        first, count = config["first_seed"], config["seeds"]
        assert re.match(r"(\d+) to (\d+)", cell).groups() == (
            str(first),
            str(first + count - 1),
        ), f"docs/protocol.md: {name} is judged on {first} to {first + count - 1}"
