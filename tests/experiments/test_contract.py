"""The contract of every experiment in the catalog, each at its tiny preset, from data to figure."""

import dataclasses
import importlib
import re
import time
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.catalog import CATALOG, module_name
from jaxvision import cli
from jaxvision.cli import one_claim
from jaxvision.report import claims as claims_lib
from jaxvision.report import plots
from jaxvision.report import record as records
from jaxvision.types import UserError

CPU_SECONDS = 6  # of a tiny preset
COMPILED = 0.04  # CPU seconds for the program of ``slowness`` on the machine of the budgets
NAMES = [entry.name for entry in CATALOG]
# One program climbs by all ways that are asked for, and is compiled for them: last digits move.
MOVING = ("class_pictures",)


@pytest.fixture(params=NAMES)
def experiment(request):
    """Each experiment's module."""
    return importlib.import_module(module_name(request.param))


@pytest.fixture(scope="module", params=NAMES)
def tiny(request, tiny_record):
    """Each experiment's module with the record of its tiny preset, measured once."""
    module = importlib.import_module(module_name(request.param))
    return module, tiny_record(module)


def test_tiny_preset_keeps_its_budget(tiny, tiny_record):
    """Compiled anew: with programs of an earlier session it takes a third of that."""
    module, _ = tiny
    spent = tiny_record.cpu_seconds[module]
    assert spent < CPU_SECONDS or spent < CPU_SECONDS * slowness()


def slowness():
    """How much slower this machine is now than that of the budgets, by a program it compiles.

    Asked beside the run that was slow: what else runs there slows both. The first program does not
    count, because it pays for what every program needs.
    """

    def compiled():
        constant = time.time()  # so that no cache has it

        def chain(x):
            for _ in range(30):
                x = jnp.tanh(x @ x) * constant
            return x.sum()

        before = time.process_time()
        jax.jit(jax.grad(chain)).lower(jnp.ones((7, 7))).compile()
        return time.process_time() - before

    spent = [compiled() for _ in range(11)]
    return max(1.0, np.mean(spent[1:]) / COMPILED)


def test_docstring_names_source_and_command(experiment):
    name = experiment.__name__.rpartition(".")[2]
    lines = experiment.__doc__.strip().splitlines()
    assert lines[0].endswith(".")
    assert re.search(r"^Sources?: ", experiment.__doc__, re.MULTILINE)
    command = rf"make exp-{name.replace('_', '-')}|python -m experiments {name}"
    assert re.search(command, experiment.__doc__)


def test_presets_are_configs_of_the_four_scales(experiment):
    assert sorted(experiment.PRESETS) == ["cpu", "gpu", "paper", "tiny"]
    assert dataclasses.is_dataclass(experiment.Config)
    assert experiment.Config.__dataclass_params__.frozen
    for preset in experiment.PRESETS.values():
        assert type(preset) is experiment.Config


def test_the_cpu_preset_is_the_config_s_own_defaults(experiment):
    """So ``--help`` prints the defaults of the run that most people make."""
    assert experiment.PRESETS["cpu"] == experiment.Config()


def test_arrays_of_the_committed_record_are_small(experiment):
    name = experiment.__name__.rpartition(".")[2]
    path = Path(experiment.__file__).parents[1] / "results" / name / "arrays.npz"
    assert path.stat().st_size < 500_000


def test_a_preset_is_what_its_flags_make_of_it(experiment):
    """Bounds and types of the flags hold for the presets' own values too."""
    for preset in experiment.PRESETS.values():
        for field in dataclasses.fields(preset):
            value = getattr(preset, field.name)
            if value == ():
                continue  # says that a part is left out; no flag can say it
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            parsed = cli.parse_flags(experiment, ["x", f"--{field.name}={text}"])
            assert getattr(parsed, field.name) == value


def test_whole_numbers_have_an_upper_bound(experiment):
    """A slip of the finger is refused in one line and does not fill the memory or run for years."""
    for field in dataclasses.fields(experiment.Config):
        if field.type is int or int in get_args(field.type):
            assert field.metadata["high"] is not None, field.name


def test_claims_of_every_preset_are_well_formed(experiment):
    for preset in experiment.PRESETS.values():
        claims = experiment.claims(preset)
        ids = [claim.id for claim in claims]
        assert len(set(ids)) == len(ids) > 0
        for claim in claims:
            assert claim.sentence
            assert not claim.sentence.startswith("...")  # tables sort by verdict
            assert claim.source
    assert any(claim.tier != "paper" for claim in experiment.claims(experiment.PRESETS["cpu"]))


def test_claims_do_not_depend_on_how_often_they_are_asked_for(experiment):
    first, second = (experiment.claims(experiment.PRESETS["cpu"]) for _ in range(2))
    shown = ("id", "source", "sentence", "tier", "rule", "not_run")
    for a, b in zip(first, second, strict=True):
        assert [getattr(a, name) for name in shown] == [getattr(b, name) for name in shown]


COMPARED_WITH_ITSELF = re.compile(
    r"(?<![\d.,])(\d(?:[\d.,]*\d)?)\b.* (than|to)( from| with)? \1\b(?![.,]\d)"
)


def test_claims_of_one_value_compare_nothing_with_itself(experiment):
    """A claim on the largest and the smallest of a flag's values is not run where there is one."""
    config = experiment.PRESETS["cpu"]
    for field in dataclasses.fields(config):
        values = getattr(config, field.name)
        for value in values if isinstance(values, tuple) else ():
            try:
                one = dataclasses.replace(config, **{field.name: (value,)})
                claims = experiment.claims(one)
            except UserError:
                continue
            sentences = [claim.sentence for claim in claims if not claim.not_run]
            assert len(set(sentences)) == len(sentences), field.name
            for sentence in sentences:
                assert not COMPARED_WITH_ITSELF.search(sentence), (field.name, sentence)


@pytest.mark.parametrize(
    "name",
    ["backward_rules", "camouflage", "class_pictures", "fooling_images", "universal_perturbation"],
)
def test_what_the_next_seed_s_net_says_needs_two_seeds(name):
    """The next of one is the net itself."""
    experiment = importlib.import_module(module_name(name))
    with pytest.raises(UserError, match="'1' must be from 2 to"):
        cli.parse_flags(experiment, ["x", "--seeds=1"])
    assert all(preset.seeds > 1 for preset in experiment.PRESETS.values())


def from_measuring_to_redrawing(tiny, tmp_path, monkeypatch, capsys):
    """What ``make plot-NAME`` does changes not a byte of a record that was just written."""
    module, measured = tiny
    cli.finish(module, measured, tmp_path / "run")
    written = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    pictures = {"figure.png", "figure.svg"}
    assert written.keys() - {"animation.gif"} == {"record.json", "arrays.npz"} | pictures
    first = capsys.readouterr().out

    loaded = records.load(tmp_path / "run")
    assert {judged["verdict"] for judged in loaded.claims} <= set(claims_lib.VERDICTS)
    assert cli.make_config_from(module, loaded) == module.PRESETS["tiny"]
    assert loaded.arrays.keys() == measured.arrays.keys()
    for name, array in measured.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)

    monkeypatch.setattr(cli.runtime, "configure", lambda **_: None)  # JAX has started
    with pytest.raises(SystemExit) as ended:
        cli.main(module, ["x", "--plot_only", f"--results={tmp_path}", "--run_name=run"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == written


def test_tiny_preset_from_measuring_to_redrawing(tiny, tmp_path, monkeypatch, capsys):
    """By the PNG alone, since each picture is laid out twice; ``test_plots`` has a figure's SVG."""
    monkeypatch.setattr(plots, "to_svg", lambda figure: b"<svg/>")
    from_measuring_to_redrawing(tiny, tmp_path, monkeypatch, capsys)


@pytest.mark.slow
def test_redrawing_changes_no_byte_of_the_svg_either(tiny, tmp_path, monkeypatch, capsys):
    from_measuring_to_redrawing(tiny, tmp_path, monkeypatch, capsys)


@pytest.mark.slow
def test_measuring_again_gives_the_same_arrays(tiny):
    """A run is a function of its config."""
    module, first = tiny
    second = cli.run(module, module.PRESETS["tiny"], "tiny", "again", "")
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(second.arrays[name], array, err_msg=name)


def claims_that_run(module):
    """Return those claims of the tiny preset that can be run."""
    return [claim for claim in module.claims(module.PRESETS["tiny"]) if not claim.not_run]


def of_one_claim(module, claim):
    """Return the claim judged on a record of the rows that it needs alone."""
    config = module.PRESETS["tiny"]
    reduced = one_claim.rows(module, claim)
    found = cli.run(module, config, "tiny", "one", "", reduced=reduced)
    return claims_lib.judge_one(module.claims(config), found, claim.id)


def held_to_the_whole(module, claims, whole):
    """Assert that what a claim finds on its rows alone is what it finds on all, to the bit."""
    name = module.__name__.rpartition(".")[2]
    tolerance = 1e-6 if name in MOVING else 0.0
    stated = module.claims(module.PRESETS["tiny"])
    judged = {each.id: each for each in claims_lib.judge(stated, whole)}
    for claim in claims:
        alone, among_all = of_one_claim(module, claim), judged[claim.id]
        assert (alone.verdict, alone.n) == (among_all.verdict, among_all.n)
        for field in ("estimate", "low", "high", "p", "smallest_effect"):
            pair = [np.float64(getattr(found, field)) for found in (alone, among_all)]
            message = f"{claim.id}: {field}"
            np.testing.assert_allclose(*pair, rtol=tolerance, atol=tolerance, err_msg=message)


def test_a_claim_names_the_rows_that_it_needs(experiment):
    for preset in experiment.PRESETS.values():
        for claim in experiment.claims(preset):
            assert claim.needs is not None, claim.id
            kept = one_claim.rows(experiment, claim).values()
            assert {row for rows in kept for row in rows} == set(claim.needs)


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("shattered_gradients", ("resists", "resists-bn")),
        ("batchnorm", ("scale-paths",)),
        ("dropout", ("shift-law",)),
        ("gan_objective", ("divergence", "sum")),
    ],
)
def test_a_claim_run_alone_finds_what_it_finds_among_all(tiny_record, name, ids):
    """Cheap experiments, with rows and with parts; the slow test below asks all of them."""
    module = importlib.import_module(module_name(name))
    claims = [claim for claim in claims_that_run(module) if claim.id in ids]
    assert len(claims) == len(ids)
    held_to_the_whole(module, claims, tiny_record(module))


@pytest.mark.slow
def test_every_claim_run_alone_finds_what_it_finds_among_all(tiny):
    module, whole = tiny
    asked = {claim.needs: claim for claim in claims_that_run(module)}  # one for each choice
    held_to_the_whole(module, asked.values(), whole)
