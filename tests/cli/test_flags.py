"""Flags: every mistake is one clear line and exit code 2, and nothing is written."""

import dataclasses
import json

import pytest

from jaxvision import cli
from jaxvision.fields import flagged
from jaxvision.types import UserError
from tests.cli.toy import Config, call, refusal

BAD = [
    (["--weight_decay=nan"], "'nan' is not a finite number"),
    (["--weight_decay=inf"], "'inf' is not a finite number"),
    (["--weight_decay=-1"], "'-1' must be at least 0"),
    (["--weight_decay=much"], "'much' is not a number"),
    (["--weight_decay=1/0"], "'1/0' is not a number"),
    (["--weight_decay=1/2/3"], "'1/2/3' is not a number"),
    (["--weight_decay="], "'' is not a number"),
    (["--rates=0.1,nan"], "'nan' is not a finite number"),
    (["--rates=0.1,0.10"], "'0.1,0.10' names a value twice"),
    (["--rates="], "'' is not a number"),
    (["--seeds=0"], "'0' must be from 1 to 1000"),
    (["--seeds=1001"], "'1001' must be from 1 to 1000"),
    (["--batch=3000000000"], "'3000000000' is too large: at most 1000000"),
    (["--seeds=1.5"], "'1.5' is not a whole number"),
    (["--seeds=five"], "'five' is not a whole number"),
    (["--seeds"], "seeds"),
    (["--depths=3,1"], "'1' must be from 2 to 99"),
    (["--depths=3,3"], "'3,3' names a value twice"),
    (["--depths=3,,5"], "'' is not a whole number"),
    (["--optimizer=lion"], "'lion' is none of sgd, adam"),
    (["--dataset="], "it must not be empty"),
    (["--dataset=no_such_set"], "no_such_set"),
    (["--augment=perhaps"], "--augment=perhaps: 'perhaps' is neither true nor false; --help"),
    (["--dataset=CIFAR-10"], "unknown data set 'CIFAR-10': did you mean cifar10?"),
    (["--dataset=Fashion-MNIST:3.0.1"], "did you mean fashion_mnist?"),
    (["--dataset=./fl@8"], "'./fl@8': a size is written @8px"),
    (["--dataset=./fl@-3px"], "'./fl@-3px': a size is written @64px"),
    (["--weight_decay=1e39"], "'1e+39' is too large: float32 ends at 3.4e38"),
    (["--rates=0.1,1e300"], "'1e+300' is too large: float32 ends at 3.4e38"),
    (["--weight_decai=1"], "unknown flag --weight_decai: did you mean --weight_decay?"),
    (["--sede=3"], "did you mean --sweep or --seeds?"),
    (["--seed=3"], "did you mean --seeds?"),
    (["--lr=3"], "did you mean --rates?"),
    (["--wd", "3"], "did you mean --weight_decay?"),
    (["--presets=tiny"], "did you mean --preset?"),
    (["--zzz"], "unknown flag --zzz: --help lists the flags"),
    ([f"--{'x' * 995}"], f"unknown flag --{'x' * 60}: "),
    (["--\x1b[2J\n=1"], r"unknown flag --\x1b[2J\n: "),
    (["--dataset=\x1b[2J\nx"], r"\x1b[2J\nx"),
    (["--dataset=\udcff"], r"\udcff"),
    (["--noaugment=1"], "--noaugment=1 does not take an argument"),
    (["--nohelp=1"], "--nohelp=1 does not take an argument"),
    (["--flagfile=/dev/zero"], "unknown flag --flagfile"),
    (["--flagfile="], "unknown flag --flagfile"),
    (["--flagfile", "/bin/ls"], "unknown flag --flagfile"),
    (["--undefok=sede", "--sede=3"], "unknown flag --undefok"),
    (["surplus"], "stray argument 'surplus'"),
    (["--seeds=3", "4"], "stray argument '4'"),
    (["--results="], "--results must not be empty"),
    (["--run_name=../x"], "run name '../x'"),
    (["--run_name=a/b"], "run name 'a/b'"),
    (["--run_name=/tmp/x"], "run name '/tmp/x'"),
    (["--run_name=.."], "run name '..'"),
    (["--run_name=.hidden"], "run name '.hidden'"),
    (["--run_name="], "run name ''"),
    (["--preset=nosuch"], "nosuch"),
    (["--plot_only"], "run the experiment first"),
    (["--data_devices=3"], "2 devices cannot be shared out in groups of 3"),
    (["--data_devices=0"], "data_devices"),
    (["--data_devices=0x1"], "'0x1' is not a whole number"),
    (["--data_devices=1000000"], "'1000000' must be from 1 to 65536"),
    (["--native=perhaps"], "perhaps"),
    (["--num_processes=2"], "several processes need --coordinator and --process_id too"),
    (["--coordinator=a:1", "--num_processes=1", "--process_id=1"], "count from 0"),
]


@pytest.mark.parametrize(("flags", "reason"), BAD, ids=[" ".join(flags)[:30] for flags, _ in BAD])
def test_a_mistake_is_one_clear_line_and_nothing_is_written(toy, results, capsys, flags, reason):
    assert reason in refusal(toy, capsys, f"--results={results}", *flags)
    assert not results.exists()


def test_the_mistake_names_the_flag(toy, results, capsys):
    for flags in (["--weight_decay=nan"], ["--seeds=0"], ["--depths=3,3"]):
        call(toy, f"--results={results}", *flags)
        assert flags[0].split("=")[0].strip("-") in capsys.readouterr().err


def test_the_short_name_of_a_flag_finds_the_ones_that_have_its_words(toy, capsys):
    @dataclasses.dataclass(frozen=True)
    class Config:
        learning_rates_he: tuple[float, ...] = flagged((0.1,), "Rates.", low=0)
        learning_rate_adam: float = flagged(0.1, "Rate.", low=0)

    toy.Config, toy.PRESETS = Config, {"tiny": Config(), "cpu": Config()}
    line = refusal(toy, capsys, "--lr=1")
    assert "did you mean --learning_rate_adam or --learning_rates_he?" in line


def test_fields_that_do_not_fit_together_are_refused_by_the_config(toy, results, capsys):
    """Before anything is touched: the config is the first thing that is made."""

    @dataclasses.dataclass(frozen=True)
    class Fitting(Config):
        def __post_init__(self):
            if self.batch > self.seeds * 10:
                raise UserError(f"--batch={self.batch} is too large for --seeds={self.seeds}")

    toy.Config, toy.measure = Fitting, None
    toy.PRESETS = {"cpu": Fitting()}
    line = refusal(toy, capsys, "--batch=51", f"--results={results}")
    assert line == "--batch=51 is too large for --seeds=5"


def test_a_part_that_a_preset_leaves_out_a_flag_may_leave_out_too(toy, results, capsys):
    assert "'' is not a whole number" in refusal(toy, capsys, "--depths=")
    toy.PRESETS["tiny"] = dataclasses.replace(toy.PRESETS["tiny"], depths=())
    assert call(toy, f"--results={results}", "--depths=", "--run_name=without") == 0
    record = json.loads((results / "without/record.json").read_text())
    capsys.readouterr()
    assert record["config"]["depths"] == []
    assert "--depths= " in f"{record['command']} "
    assert "'' is not a whole number" in refusal(toy, capsys, "--depths=3,")
    assert call(toy, "--help") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Weight layers. (from 2 to 99; nothing: left out) [cpu default: 3,5]" in told


def test_two_spellings_of_a_data_set_are_one_config(toy, tmp_path):
    made = [
        cli.make_config(toy, "tiny", {"dataset": name})
        for name in ("cifar10", "cifar10/", "cifar10//", "./cifar10")
    ]
    assert [config.dataset for config in made[:3]] == ["cifar10"] * 3
    assert len({cli.default_run_name(toy, "tiny", config) for config in made[:3]}) == 1


def test_kernels_that_are_asked_for_and_cannot_be_had_are_one_clear_line(
    toy, results, capsys, monkeypatch
):
    monkeypatch.setenv("JAXVISION_DISABLE", "native")
    line = refusal(toy, capsys, f"--results={results}", "--native=on")
    assert line == "--native=on cannot be: JAXVISION_DISABLE has the word native: take it out"
    assert not results.exists()
