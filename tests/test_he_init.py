"""The verdicts of he_init follow the science: broken on purpose, the right one changes.

Swapped fans cannot show in nets of one width; ``test_initializers.py`` holds each fan on kernels
whose fans differ, and the conv net below sees them at the layers where the channels double.
"""

import dataclasses
import functools

import jax
import numpy as np

from experiments import he_init
from jaxvision import cli, initializers
from jaxvision.data.dataset import Splits
from jaxvision.dynamics import probes
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.models.plain import he2015_net
from jaxvision.report.claims import judge
from jaxvision.training import optimizers

CONFIG = dataclasses.replace(
    he_init.PRESETS["tiny"],
    seeds=5,
    depths=(),
    mlp_depths=(30,),
    mlp_width=32,
    mlp_steps=220,
    period=220,
    rates_xavier=(0.003,),
    rates_he=(0.001,),
    theory_nets=2,
)


def verdicts(config=CONFIG) -> dict[str, str]:
    made = cli.run(he_init, config, "tiny", "broken", "a test")
    return {claim.id: claim.verdict for claim in judge(he_init.claims(config), made)}


def test_the_figure_holds():
    found = verdicts()
    assert found["mlp30-he"] == found["mlp30-xavier"] == found["mlp30-flax"] == "reproduced"
    assert found["mlp30-no-bias"] == "reproduced"
    assert found["mlp30-delta-decays"] == "reproduced"


def test_xavier_labeled_he(monkeypatch):
    swapped = {"xavier": initializers.he_backward(), "he": initializers.xavier_he2015()}
    monkeypatch.setattr(he_init, "INITS", he_init.INITS | swapped)
    found = verdicts()
    assert found["mlp30-he"] == found["mlp30-xavier"] == "contradicted"
    assert found["xavier-signal"] == found["he-signal"] == "contradicted"
    assert found["mlp30-delta-decays"] == "contradicted"


def test_shuffled_labels(monkeypatch):
    def shuffled(name: str) -> Splits:
        data = load(name)
        labels = np.random.default_rng(0).permutation(data.train.labels)
        return data._replace(train=data.train._replace(labels=labels))

    load = he_init.load
    monkeypatch.setattr(he_init, "load", shuffled)
    assert verdicts()["mlp30-he"] == "contradicted"


def test_zeroed_gradient(monkeypatch):
    def broken(weight_decay, hyper):
        return optimizers.sgd(weight_decay, hyper | {"learning_rate": 0 * hyper["learning_rate"]})

    monkeypatch.setattr(he_init, "sgd", broken)
    assert verdicts()["mlp30-he"] == "contradicted"


def test_a_hundred_times_the_rate():
    found = verdicts(dataclasses.replace(CONFIG, rates_he=(0.1,)))
    assert found["mlp30-he"] == "contradicted"


def test_swapped_fans_show_where_channels_double():
    def last_signal(init) -> float:
        net = he2015_net(14, 8, 10, init, 8)
        draw = functools.partial(initialize_runs, net, image_shape=(8, 8, 1))
        images = jax.random.normal(jax.random.key(1), (16, 8, 8, 1))
        variables = draw(jax.random.split(jax.random.key(0), 8))
        signal = probes.initial_signal(apply_function(net), variables, images)
        return float(np.median(np.log2(signal[:, 10] / signal[:, 1])))  # the second stage's last

    # Two doublings of the channels lie between: fan-out halves the variance at each of them.
    gap = last_signal(initializers.he_forward()) - last_signal(initializers.he_backward())
    assert 0.3 < gap < 1.2
