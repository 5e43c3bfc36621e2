"""Attacks in rounds of a few images: nothing depends on where a round ends."""

import jax
import numpy as np
import pytest

from jaxvision.adversarial import rounds
from jaxvision.adversarial.api import attack
from jaxvision.adversarial.deepfool import deepfool
from jaxvision.adversarial.evolution import Budget, differential_evolution
from jaxvision.adversarial.gradient import basic_iterative, fgsm, least_likely, pgd
from jaxvision.adversarial.min_norm import min_norm
from jaxvision.adversarial.pixels import corner_pixels
from jaxvision.adversarial.threat import L2, Ball
from jaxvision.progress import configure

RNG = np.random.default_rng(4)
IMAGES = np.float32(RNG.random((11, 3, 4, 1)))
WEIGHTS = np.float32(RNG.normal(size=(12, 3)))
SIZES = [0.05, 0.3]
CASES = {
    "fgsm": (fgsm, SIZES, {}),
    "pgd": (pgd, 0.1, {"steps": 3}),
    "starts in linf": (pgd, SIZES, {"steps": 3, "seed": 0, "restarts": 3}),
    "starts in l2": (pgd, 0.5, {"steps": 3, "seed": 0, "ball": L2}),
    "starts in l1": (pgd, SIZES, {"steps": 2, "seed": 0, "ball": Ball("l1")}),
    "targets": (pgd, 0.2, {"steps": 3, "seed": 1, "targets": np.arange(11) % 3}),
    "basic iterative": (basic_iterative, SIZES, {}),
    "least likely": (least_likely, 0.1, {}),
    "deepfool": (deepfool, None, {"steps": 5}),
    "smallest": (min_norm, None, {"bisections": 2, "steps": 3}),
    "corners": (corner_pixels, None, {}),
    "evolution": (differential_evolution, None, {"seed": 0, "budget": Budget(5, 2)}),
}


def net(images):
    return images.reshape(len(images), 12) @ WEIGHTS


LABELS = np.asarray(net(IMAGES)).argmax(1)


@pytest.fixture
def of_four(monkeypatch):
    """Rounds of four images, where one image is attacked at one size from one start."""
    monkeypatch.setattr(rounds, "_VALUES", 4 * 12)
    monkeypatch.setattr(rounds, "_FEW", 4)


def run(case):
    method, eps, options = CASES[case]
    return attack(net, None, IMAGES, LABELS, eps, method=method, **options)


@pytest.mark.parametrize("case", CASES)
def test_rounds_find_what_one_call_finds_to_the_bit(case, monkeypatch, capsys):
    whole = run(case)
    assert capsys.readouterr().err == ""
    _, eps, options = CASES[case]
    copies = np.size(eps) * options.get("restarts", 1)
    monkeypatch.setattr(rounds, "_VALUES", 4 * 12 * copies)
    monkeypatch.setattr(rounds, "_FEW", 4)
    jax.tree.map(np.testing.assert_array_equal, run(case), whole)
    assert "attacking images: done in" in capsys.readouterr().err


def test_sizes_and_restarts_count_as_images():
    ways = {"restarts": 2}, {"restarts": 1}, {}
    shape = (32, 32, 3)
    found = [rounds._at_once(pgd, shape, np.zeros(2, np.float32), way) for way in ways]
    assert found == [85, 170, 170]
    assert rounds._at_once(pgd, shape, np.float32(0.1), {}) == 341
    assert rounds._at_once(pgd, (2048, 2048, 3), np.float32(0.1), {}) == 1


def test_one_program_serves_all_rounds_and_another_s_method_sees_all_images(of_four):
    traced = []

    def counted(images):
        traced.append(len(images))
        return net(images)

    attack(jax.jit(counted), None, IMAGES, LABELS, 0.1, method=fgsm)
    in_attack = traced[2:]  # the net itself was asked before
    assert set(in_attack) <= {4, 11}
    seen = []

    def own(f, images, labels, eps):
        seen.append(len(images))
        return fgsm(f, images, labels, eps)

    attack(net, None, IMAGES, LABELS, 0.1, method=own)
    assert seen == [11]


def test_progress_shows_and_can_be_switched_off(of_four, capsys):
    attack(net, None, IMAGES, LABELS, 0.1, method=fgsm)
    first, last = capsys.readouterr().err.splitlines()
    assert first == "attacking images: started, 11 steps"
    assert last.startswith("attacking images: done in")
    configure(quiet=True)
    try:
        attack(net, None, IMAGES, LABELS, 0.1, method=fgsm)
    finally:
        configure(quiet=False)
    assert capsys.readouterr().err == ""


def test_ctrl_c_says_how_far_it_came(of_four, monkeypatch):
    program = rounds._program

    def interrupted(*choices):
        run, calls = program(*choices), []

        def once_more(*given):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return run(*given)

        return once_more

    monkeypatch.setattr(rounds, "_program", interrupted)
    with pytest.raises(KeyboardInterrupt, match=r"^8 of 11 images were attacked") as caught:
        attack(net, None, IMAGES, LABELS, 0.1, method=fgsm)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
