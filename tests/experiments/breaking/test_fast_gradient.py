"""The verdicts of fast_gradient follow the science: broken on purpose, they change."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.breaking import _fast_panels as panels
from experiments.breaking import _strength as strength
from experiments.breaking import fast_gradient as experiment
from jaxvision.adversarial import train
from jaxvision.progress import silent
from jaxvision.report import plots
from jaxvision.types import UserError
from tests.experiments.breaking.verdicts import verdicts

CONFIG = dataclasses.replace(
    experiment.PRESETS["tiny"],
    seeds=5,
    first_seed=100,
    width=32,
    steps=150,
    attack_steps=5,
    test_images=100,
)
WHOLE = dataclasses.replace(CONFIG, others=("conv", "filters"))
WAYS = experiment.WAYS
DRAWN = ("uniform", "start", "honest_mix")  # in the figure, of which no claim speaks


judged = partial(verdicts, experiment)


def test_nets_that_learn_from_clean_images_alone_gain_nothing():
    """The science is broken by recipes that change no image."""
    usual = {
        name: way if way.recipe is None else way._replace(recipe=lambda _: train.unopposed())
        for name, way in WAYS.items()
        if name not in DRAWN
    }
    numbers, arrays = experiment.measure(CONFIG, silent, usual)
    found = judged(CONFIG, numbers, arrays)
    for name in ("exact-fall", "softmax-falls", "dense-falls"):
        assert found[name] == "reproduced", name
    for name in ("mix-helps", "noise-fails", "masked-pgd", "masked-size", "leak", "honest"):
        assert found[name] != "reproduced", name
    for attack in ("fgsm", "pgd", "noise", "predicted"):
        assert np.all(arrays["plain/worst"] >= arrays[f"plain/{attack}"] - 1e-6)
    np.testing.assert_array_equal(arrays["plain/fgsm"], arrays["mix/fgsm"])


def made_up(*, upside_down: bool = False):
    """Arrays of five seeds as the papers have them, or the other way round."""

    def way(
        fgsm,
        pgd=None,
        noise=0.1,
        predicted=None,
        worst=None,
    ):
        pgd = fgsm if pgd is None else pgd
        return {
            "fgsm": np.asarray(fgsm),
            "pgd": np.asarray(pgd),
            "noise": np.full(6, noise),
            "predicted": np.asarray(fgsm if predicted is None else predicted),
            "worst": np.asarray(pgd if worst is None else worst),
        }

    broken = np.array([0.02, 0.3, 0.7, 0.9, 0.99, 1])
    masked = np.array([0.01, 0.2, 0.5, 0.4, 0.2, 0.5])
    robust = np.array([0.02, 0.05, 0.1, 0.3, 0.7, 1])
    leaking = np.array([0.3, 0.3, 0.2, 0.1, 0.1, 0.3])
    ways = dict.fromkeys(WAYS, way(broken)) | {
        "mix": way(masked, broken, noise=0.4),
        "fgsm": way(leaking, broken, predicted=leaking + 0.2),
        "honest_pgd": way(robust, robust),
    }
    along = {  # before the first step, at the first look, at the last
        "filters/fgsm": [1, 0.5, 0.4],
        "filters/pgd": [1, 0.5, 0.9],
        "filters/cosine": [0.8, 0.4, 0.3],
        "filters_pgd/fgsm": [1, 0.5, 0.4],
        "filters_pgd/pgd": [1, 0.5, 0.5],
        "filters_pgd/cosine": [0.8, 0.9, 0.9],
    }
    handed = {"old_to_new": 0.2, "new_to_old": 0.4, "black": 0.6}
    # At both sizes; at the larger one nothing is left to be fooled.
    pair = {"gap": [1e-7, 1e-7], "free": [0.5, 1], "clipped": [0.3, 1]}
    if upside_down:
        ways = dict.fromkeys(WAYS, way(masked, masked * 0.5, noise=0.6))
        ways |= {
            "mix": way(broken, masked, noise=0.1, worst=masked),
            "plain": way(masked, masked * 0.5, noise=0.6, worst=np.ones(6)),
            "fgsm": way(robust, robust, predicted=robust - 0.01),
            "honest_pgd": way(robust, broken, worst=np.ones(6)),
        }
        along |= {"filters/pgd": [0.1, 0.9, 0.89], "filters_pgd/pgd": [1, 0.5, 1.9]}
        along |= {"filters/cosine": [0.3, 0.4, 0.8], "filters/fgsm": [1, 0.4, 0.5]}
        along |= {"filters_pgd/cosine": [0.9, 0.9, 0.8]}
        handed = {"old_to_new": 0.4, "new_to_old": 0.2, "black": 0.6}
        pair = {"gap": [1e-7, 0.1], "free": [0.3, 1], "clipped": [0.5, 1]}
    arrays = {f"{name}/{key}": value for name, one in ways.items() for key, value in one.items()}
    for name, values in along.items():
        kind, quantity = name.split("/")
        arrays[f"{kind}/along_{quantity}"] = np.asarray(values)
    arrays |= {f"handed/{name}": np.full(6, value) for name, value in handed.items()}
    arrays |= {f"pair/{name}": np.asarray(value) for name, value in pair.items()}
    spread = 1 + 0.01 * np.arange(-2, 3)
    return {name: spread.reshape(5, *[1] * value.ndim) * value for name, value in arrays.items()}


def test_what_the_papers_have_is_reproduced():
    found = judged(WHOLE, {}, made_up())
    assert {name for name, verdict in found.items() if verdict == "not run"} == {
        "slide",
        "softmax-mnist",
        "dense-mnist",
        "mix-mnist",
        "noise-mnist",
    }
    assert set(found.values()) == {"reproduced", "not run"}


def test_the_opposite_is_contradicted():
    found = judged(WHOLE, {}, made_up(upside_down=True))
    kept = {"masked-black"}
    upheld = {n for n, v in found.items() if v not in ("contradicted", "not run")}
    assert upheld <= kept


def test_the_paper_s_numbers_are_asked_of_its_own_data():
    on_mnist = dataclasses.replace(WHOLE, dataset="mnist")
    arrays = made_up()
    arrays |= {"mix/fgsm": np.full((5, 6), 0.2), "softmax/fgsm": np.full((5, 6), 0.99)}
    found = judged(on_mnist, {}, arrays)
    assert found["softmax-mnist"] == "reproduced"
    assert found["mix-mnist"] == "reproduced"
    assert found["dense-mnist"] == "contradicted"
    assert found["slide"] == "reproduced"
    arrays["plain/fgsm"] = np.full((5, 6), 0.86)
    assert judged(on_mnist, {}, arrays)["slide"] == "contradicted"


def linear(weights):
    def f(images):
        return images.reshape(len(images), -1) @ weights

    return f


def given(images, labels, epsilons=(0.1,)):
    shaped = jnp.asarray(images, jnp.float32)[:, None, :, None]
    return strength.Attacked(
        shaped,
        jnp.int32(labels),
        jnp.float32(epsilons),
        0,
    )


def aligned(f, some):
    return jax.jit(partial(strength.alignment, f, epsilon=0.2))(some)


def test_gradients_of_two_linear_classes_point_alike_everywhere():
    rng = np.random.default_rng(0)
    f = linear(jnp.asarray(rng.normal(size=(6, 2)), jnp.float32))
    some = given(rng.uniform(0.3, 0.7, (9, 6)), rng.integers(0, 2, 9))
    np.testing.assert_allclose(
        aligned(f, some),
        1,
        rtol=1e-5,
    )

    def bent(images):
        return jnp.stack([jnp.sin(40 * images).sum((1, 2, 3)), jnp.zeros(len(images))], axis=1)

    assert aligned(bent, some) < 0.7


def fallen(f, some):
    return jax.jit(partial(strength.fall, f, classes=(0, 1), epsilon=0.25))(
        some.images, labels=some.labels
    )


def test_the_margin_falls_by_the_room_there_is():
    """W = (3, -4), x = (.1, .9), eps .25: the box leaves .1 of each, a fall of .7, not 1.75."""
    f = linear(jnp.float32([[1.5, -1.5], [-2, 2]]))
    some = given([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]], [0, 1, 2])
    found = fallen(f, some)
    assert found.gap < 1e-5
    assert found.clean == 0.5  # the first is wrong, margin 3 * .1 - 4 * .9; the second is right
    assert found.free == 1.0
    some = given([[0.9, 0.1]], [0])
    found = fallen(f, some)
    assert (found.clean, found.clipped) == (0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"honest_epsilon": 0.3}, "above 0 and below --epsilon"),
        ({"epsilon": 0.9}, "that at most 2/3"),
        ({"pair": (3, 12)}, "two of the 10 classes"),
        ({"pair": (3,)}, "two of the 10 classes"),
        ({"pair": (3, 3)}, "two of the 10 classes"),
    ],
)
def test_impossible_flags_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        experiment.measure(dataclasses.replace(CONFIG, **change), silent)


def test_no_answer_is_not_counted_as_a_wrong_one():
    images = jnp.full((3, 2, 2, 1), 0.5)
    given = strength.Attacked(images, jnp.zeros(3, jnp.int32), jnp.float32([0.1]), 0)

    def broken(images):
        away = jnp.abs(images - 0.5).max((1, 2, 3)) > 0
        return jnp.where(away[:, None], jnp.nan, jnp.float32([[1.0, 0.0]]))

    hits = jax.jit(lambda key: strength.noise_hits(broken, key, given, 2))(jax.random.key(0))
    assert not hits.any()
    handed = jax.jit(lambda given: strength.handed_over(lambda x: x[:, :2, 0, 0], broken, given))
    assert handed(given)[0] == 0


@pytest.mark.parametrize(("verdict", "part"), [("reproduced", True), ("inconclusive", False)])
def test_a_panel_says_that_errors_part_only_where_they_do(verdict, part):
    names = ("few-filters", "few-turn", "few-turn-pgd", "few-collapse", "few-pgd")
    verdicts = dict.fromkeys(names, verdict)
    quantities = ("filters/along_fgsm", "filters/along_pgd", "filters/along_cosine")
    along = dict.fromkeys((*quantities, "filters_pgd/along_cosine"), np.ones((2, 3)))
    record = SimpleNamespace(arrays={"looks": np.arange(3)} | along, verdicts=verdicts)
    figure, axes = plots.new_figure(1, 1, 3)
    panels.draw_filters(np.ravel(axes)[0], record)
    assert ("part" in figure.axes[0].get_title(loc="left")) == part
