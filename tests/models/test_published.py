"""Parameters of published nets, to the unit; where both exist, the table against the model."""

import pytest

from jaxvision.initializers import he_forward
from jaxvision.models.alexnet import alexnet
from jaxvision.models.published import (
    alexnet_parameters,
    googlenet_parameters,
    one_weird_trick_parameters,
    parameters_of,
    vgg_parameters,
)
from jaxvision.models.resnet import imagenet_resnet
from jaxvision.types import UserError


def total(counts):
    return sum(counts.values())


def test_alexnet_layer_by_layer():
    grouped = (34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000)
    assert tuple(alexnet_parameters().values()) == grouped
    assert total(alexnet_parameters()) == 60_965_224
    assert total(one_weird_trick_parameters()) == 61_100_840


@pytest.mark.parametrize("removed", [(), (7,), (3, 4), (6, 7), (3, 4, 6, 7)])
def test_the_table_without_groups_is_the_model(removed):
    model = alexnet(96, 4096, 1000, he_forward(), 227, removed, large_images=True)
    assert alexnet_parameters(removed, grouped=False) == parameters_of(model, 227)


@pytest.mark.parametrize(
    ("removed", "left"),
    [
        ((7,), 60_965_224 - 16_781_312),
        ((6, 7), 60_965_224 - 49_414_144),
        ((3, 4), 60_965_224 - 1_696_512),
        ((3, 4, 6, 7), 9_854_568),
    ],
)
def test_alexnet_with_layers_removed(removed, left):
    assert total(alexnet_parameters(removed)) == left


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(11, 132_863_336), (13, 133_047_848), (16, 138_357_544), (19, 143_667_240)],
)
def test_vgg(depth, parameters):
    assert total(vgg_parameters(depth)) == parameters


def test_googlenet_with_and_without_the_classifiers_of_training():
    assert total(googlenet_parameters()) == 6_998_552
    assert total(googlenet_parameters(auxiliary=True)) == 13_378_280


def test_a_residual_net_is_counted_by_its_own_code():
    counts = parameters_of(imagenet_resnet(18), 224)
    assert total(counts) == 11_689_512
    assert counts["logits"] == 513_000


def test_units_of_the_dense_layers():
    """Zeiler & Fergus also trained nets with 2048 and 8192 of them."""
    halved = alexnet_parameters(units=2048)
    assert halved["fc6"] == 9216 * 2048 + 2048
    assert halved["fc7"] == 2048 * 2048 + 2048


def test_nets_that_nobody_published_are_one_clear_line():
    with pytest.raises(UserError, match=r"^VGG has 11, 13, 16, 19 layers, not 12$"):
        vgg_parameters(12)
    with pytest.raises(UserError, match=r"^AlexNet has layers 1 to 8, not 12"):
        alexnet_parameters((12,))
