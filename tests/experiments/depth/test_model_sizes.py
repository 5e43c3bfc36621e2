"""What the papers print, against the count; a net counted wrongly changes the right verdict."""

import dataclasses
from functools import partial

import pytest

from experiments.depth import model_sizes
from jaxvision.models.published import alexnet_parameters, googlenet_parameters, vgg_parameters
from jaxvision.progress import silent
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.types import UserError

CONFIG = model_sizes.Config()
NETS = model_sizes.NETS


def record(config=CONFIG, nets=NETS):
    numbers, arrays = model_sizes.measure(config, silent, nets)
    fields = dataclasses.asdict(config)
    return Record("model_sizes", "cpu", "x", "", fields, numbers, arrays, [], {})


def verdicts(made, config=CONFIG):
    return {found.id: found.verdict for found in judge(model_sizes.claims(config), made)}


@pytest.fixture(scope="module")
def counted():
    return record()


def counted_as(name, count):
    """The verdicts with one net counted otherwise."""
    config = dataclasses.replace(
        CONFIG, nets=("alexnet", "googlenet", *model_sizes.VGG_PRINTED), cifar_depths=(20,)
    )
    changed = NETS | {name: dataclasses.replace(NETS[name], count=count)}
    return verdicts(record(config, changed), config)


def test_to_the_unit(counted):
    assert counted.numbers["parameters"] == {
        "alexnet": 60_965_224,
        "vgg11": 132_863_336,
        "vgg13": 133_047_848,
        "vgg16": 138_357_544,
        "vgg19": 143_667_240,
        "googlenet": 6_998_552,
        "resnet18": 11_689_512,
        "resnet34": 21_797_672,
        "resnet50": 25_557_032,
        "resnet101": 44_549_160,
        "resnet152": 60_192_808,
    }
    assert counted.numbers["dense"]["alexnet"] == 37_752_832 + 16_781_312 + 4_097_000
    assert counted.numbers["dense"]["resnet152"] == 2048 * 1000 + 1000
    cifar = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}
    expected = {str(depth): count for depth, count in cifar.items()}
    assert counted.numbers["cifar_a"] == counted.numbers["cifar_plain"] == expected


def test_two_published_statements_fail_the_arithmetic(counted):
    found = verdicts(counted)
    failed = {name for name, verdict in found.items() if verdict == "contradicted"}
    assert failed == {"one-percent", "twelve-times"}
    assert {verdict for name, verdict in found.items() if name not in failed} == {"reproduced"}
    assert model_sizes.conv_shares(counted) == pytest.approx(
        [0.06, 0.50, 1.45, 1.09, 0.73], abs=5e-3
    )


def test_both_would_hold_for_nets_that_had_them():
    """A net whose dense layers are half as large again, and five millions for GoogLeNet."""
    held = counted_as("alexnet", partial(alexnet_parameters, units=6144))
    assert held["one-percent"] == "reproduced"
    assert held["sixty-million"] == "contradicted"
    fewer = counted_as("googlenet", lambda: {"fc": 5_080_000})
    assert fewer["twelve-times"] == "reproduced"


def test_a_net_counted_wrongly_changes_its_verdict():
    """Without groups AlexNet's convolutions have still larger shares; VGG-16 is no VGG-19."""
    assert counted_as("vgg19", partial(vgg_parameters, 16))["vgg"] == "contradicted"
    whole = counted_as("googlenet", partial(googlenet_parameters, auxiliary=True))
    assert whole["twelve-times"] == "contradicted"


def test_a_shortcut_with_weights_is_found(counted):
    numbers = counted.numbers | {"cifar_a": {**counted.numbers["cifar_a"], "20": 272_474}}
    found = verdicts(dataclasses.replace(counted, numbers=numbers))
    assert found["option-a"] == "contradicted"
    assert found["cifar"] == "reproduced"  # rounds to .27 too
    numbers["cifar_a"]["20"] = 275_100
    assert verdicts(dataclasses.replace(counted, numbers=numbers))["cifar"] == "contradicted"


def test_nets_left_out_are_not_judged():
    config = dataclasses.replace(CONFIG, nets=("googlenet",), cifar_depths=(20,))
    made = record(config)
    claims = {claim.id: claim for claim in judge(model_sizes.claims(config), made)}
    assert claims["twelve-times"].verdict == "not run"
    assert claims["twelve-times"].note == "needs --nets=alexnet,googlenet"
    assert claims["cifar"].note == "needs --cifar_depths=20,32,44,56,110,1202"
    assert claims["option-a"].verdict == "reproduced"
    model_sizes.plot(made, config)


def test_a_depth_that_no_net_has_is_one_clear_line():
    with pytest.raises(UserError, match=r"^depth=21: a CIFAR net has 6n\+2 layers"):
        record(dataclasses.replace(CONFIG, cifar_depths=(21,)))
