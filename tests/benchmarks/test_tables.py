"""Goals and pages from results: which ratio each goal takes, which side of its limit is met."""

import copy

import pytest

from benchmarks import cases, problems, tables
from benchmarks.cases import FLAX, OURS, PURE, TORCH, TORCHES

MS = {  # of a step: ours, PyTorch, a process a core, plain Flax, pure JAX
    "resnet20": (80, 100, 120, 300, 200),
    "conv32": (13, 20, 17, 38, 20),
    "conv16": (6, 10, 8, 26, 9),
    "mlp": (0.3, 3, 0.8, 0.5, None),
}


def row(values):
    names = OURS, TORCH, TORCHES, FLAX, PURE
    pairs = zip(names, values, strict=True)
    return {
        name: {"ms": ms, "clean": 5, "samples": [{}] * 6} for name, ms in pairs if ms is not None
    }


def throughput(label, rate):
    return {"net": "resnet20", "label": label, "images_per_s": rate, "utilization": 0.8}


RESULTS = {
    "started": "2026-11-29T12:00:00+00:00",
    "machine": "a processor",
    "steps": {"2": {net: row(values) for net, values in MS.items()}},
    "images": {
        "peaks": {"float32": 2e11},
        "rows": {
            f"resnet20 {label}": throughput(label, rate)
            for label, rate in (("torch channels_last", 500.0), ("jaxvision, one run", 650.0))
        },
    },
    "beside": {OURS: {"slower": 1.8}, TORCH: {"slower": 7.0}},
    "peak_mb": {OURS: {"6": 590.0, "102": 700.0}, TORCH: {"6": 640.0, "102": 650.0}},
    "compile_cpu_s": {"30": 1.0, "1000": 1.1},
    "start_s": {"jaxvision cold": 12.0, "torch": 2.7, "jaxvision warm": 1.4},
}


def test_every_goal_of_the_issue_is_there_with_its_ratio_and_its_limit():
    found = [(g.name, round(g.found, 3), g.limit, g.met) for g in tables.goals(RESULTS)]
    assert found == [
        ("resnet20, a step / PyTorch", 0.8, 0.8, True),
        ("conv32, a step / PyTorch", 0.65, 0.65, True),
        ("conv32, a step / PyTorch, a process a core", 0.765, 0.8, True),
        ("conv16, a step / PyTorch", 0.6, 0.6, True),
        ("mlp, a step / PyTorch", 0.1, 0.2, True),
        ("mlp, a step / PyTorch, a process a core", 0.375, 0.5, True),
        (
            "resnet20, images a second, augmentation and evaluation included / PyTorch",
            1.3,
            1.2,
            True,
        ),
        ("resnet20 beside a busy process / alone", 1.8, 2.0, True),
        ("resnet20, peak memory after 6 steps, MB", 590.0, 650.0, True),
        ("resnet20, peak memory after 102 steps, MB", 700.0, 650.0, False),
        ("compile time, 1000 layers / 30", 1.1, 1.2, True),
        ("warm start / PyTorch", 0.519, 1.0, True),
    ]


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        (lambda r: r["steps"]["2"]["resnet20"][OURS].update(ms=81), "resnet20, a step / PyTorch"),
        (lambda r: r["steps"]["2"]["mlp"][TORCHES].update(ms=0.5), "a process a core"),
        (lambda r: r["beside"][OURS].update(slower=2.1), "beside a busy process"),
        (lambda r: r["beside"][OURS].update(slower=float("nan")), "beside a busy process"),
        (
            lambda r: r["images"]["rows"]["resnet20 jaxvision, one run"].update(images_per_s=590),
            "images a second",
        ),
        (lambda r: r["compile_cpu_s"].update({"1000": 1.3}), "compile time"),
    ],
)
def test_a_goal_that_is_missed_is_marked_missed(change, missed):
    results = copy.deepcopy(RESULTS)
    results["peak_mb"][OURS]["102"] = 600.0
    assert not any("missed" in line for line in tables.goals_table(results))
    change(results)
    (line,) = [line for line in tables.goals_table(results) if "missed" in line]
    assert missed in line


def test_goals_are_judged_on_all_cores():
    results = copy.deepcopy(RESULTS)
    results["steps"]["1"] = {"resnet20": row((500, 100, 100, 100, 100))}
    assert tables.goals(results)[0].found == pytest.approx(0.8)
    assert "CPU-ms a step (and seed), cores=1" in tables.markdown(results)


def test_what_was_not_measured_has_no_goal_and_no_line():
    results = {name: RESULTS[name] for name in ("started", "machine")}
    results["steps"] = {"2": {"mlp": row(MS["mlp"])}}
    assert [g.name for g in tables.goals(results)] == [
        "mlp, a step / PyTorch",
        "mlp, a step / PyTorch, a process a core",
    ]
    assert "| - |" in tables.markdown(results)  # no ResNet in the README's rows


def test_the_readme_has_four_rows_of_ours_over_pytorch():
    head, rule, *rows = tables.readme_lines(RESULTS)
    assert (head, rule) == ("| on two CPU cores | ours / PyTorch, in time |", "|---|---|")
    assert [line.split("|")[2].strip() for line in rows] == [
        ".80",
        ".10; .60; .65",
        ".37; .75; .76",
        ".77",
    ]


def test_the_table_of_steps_has_every_implementation_and_its_ratio():
    text = "\n".join(tables.steps_lines(RESULTS))
    assert (
        "| MLP 30 x 64, 8 seeds; a seed | 0.30 | 3.00 (0.10) | 0.80 (0.37) | 0.50 (0.60) |" in text
    )
    assert (
        "| 80.00 | 100.00 (0.80) | 120.00 (0.67) | 300.00 (0.27) | 200.00 (0.40) | 25/30 |" in text
    )
    assert all(line.count("|") == 8 for line in text.splitlines() if line.startswith("|"))


def test_the_peak_bounds_what_can_be_reached():
    """ResNet-20, batch 128: 31.2 GFLOP, 156 ms at 200 GFLOP/s; MLP: 45 MFLOP, .22 ms."""
    assert problems.step_flops("resnet20") == pytest.approx(31.2e9, rel=0.01)
    assert problems.step_flops("conv32") == pytest.approx(
        64 * 3 * 2 * 28 * 9 * 32**2 * 64, rel=0.01
    )
    lines = tables.bound_lines(RESULTS)
    assert "| ResNet-20 (CIFAR), batch 128 | 195% | 156% | 1.56 |" in lines
    assert "| MLP 30 x 64, 8 seeds; a seed | 76% | 29% | 0.08 |" in lines


def test_the_cases_are_all_that_the_goals_ask_for():
    listed = {(case.net, case.label) for case in cases.cases(problems.NETS)}
    for net, other, _ in tables.STEP_GOALS:
        assert {(net, OURS), (net, other)} <= listed
    for net in problems.NETS:
        labels = {label for n, label in listed if n == net}
        assert labels == {OURS, TORCH, TORCHES, FLAX} | ({PURE} if net != "mlp" else set())


def test_seeds_run_at_once_but_for_the_resnet():
    names = {case.name for case in cases.cases(problems.NETS) if case.label == OURS}
    assert names == {"resnet20:1", "conv16:8", "conv32:8", "mlp:8"}
