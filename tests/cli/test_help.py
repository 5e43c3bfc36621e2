"""The help: the experiment's own words, and every flag with what is legal."""

import dataclasses

from experiments.breaking import robustness_in_training
from experiments.initialization import he_init
from jaxvision.cli.parsing import parse_flags
from tests.cli.toy import call, measure


def test_help_shows_the_docstring_and_every_flag(toy, results, capsys):
    for experiment in (toy, he_init):
        for flag in ("--help", "-h"):
            assert call(experiment, flag, f"--results={results}") == 0
            out, err = capsys.readouterr()
            assert err == ""
            assert experiment.__doc__.strip() in out
            common = ["preset", "run_name", "results", "data_dir", "plot_only"]
            for field in dataclasses.fields(experiment.Config):
                assert field.metadata["help"].split()[0] in out
                common.append(field.name)
            for name in common:
                assert f"--{name}" in out or f"--[no]{name}" in out
    assert not results.exists()


def test_help_shows_what_is_legal(toy, capsys):
    assert call(toy, "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    for line in (
        "Paired seeds. (from 1 to 1000) [cpu default: 5]",
        "Learning rates. (at least 0) [cpu default: 0.1,0.2]",
        "Optimizer. (one of sgd, adam) [cpu default: sgd]",
        "Data set. [cpu default: digits]",
        "tiny: a smoke test of seconds that decides nothing",
    ):
        assert line in out


def test_steps_of_a_pixel_are_shown_and_typed_as_fractions(capsys):
    assert call(robustness_in_training, "--help") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "[cpu default: 2/255,4/255,8/255]" in out
    typed = parse_flags(robustness_in_training, ["", "--epsilons=2/255,0.5"])
    assert typed.epsilons == (2 / 255, 0.5)


def test_only_long_runs_have_the_flags_of_a_workdir(long_toy, capsys):
    toy, _ = long_toy
    long_flags = ["--workdir", "--[no]resume", "--[no]tensorboard"]
    assert call(toy, "--help") == 0
    told = capsys.readouterr().out
    assert all(flag in told for flag in long_flags)
    toy.measure = measure
    assert call(toy, "--help") == 0
    assert not any(flag in capsys.readouterr().out for flag in long_flags)
    assert call(toy, "--noresume") == 2


def test_the_scale_comes_first_and_flags_stand_in_groups(toy, capsys):
    assert call(toy, "--help") == 0
    out = capsys.readouterr().out
    flags = [line.split(":")[0].strip() for line in out.splitlines() if line.startswith("  --")]
    assert flags[0] == "--preset"
    groups = ["flags of all experiments", "set-up of this experiment", "many devices, many hosts"]
    places = [out.index(words) for words in (*groups,)]
    assert places == sorted(places)
    assert places[0] < out.index("--results") < places[1] < out.index("--seeds:") < places[2]
    assert places[2] < out.index("--data_devices")
    assert out.index("examples:") < places[0]
    assert out.count("\n  python -m experiments toy --") == 2


def test_the_examples_can_be_typed(toy, results, capsys):
    assert call(toy, "--help") == 0
    out = capsys.readouterr().out
    examples = [line.split()[4:] for line in out.splitlines() if line.startswith("  python -m ")]
    for flags in examples:
        assert call(toy, *flags, f"--results={results}") == 0


def test_without_docstrings_the_flags_are_there(toy, capsys):
    """As under python -OO."""
    toy.__doc__ = None
    assert call(toy, "--help") == 0
    assert capsys.readouterr().out.startswith("usage: python -m experiments toy")
