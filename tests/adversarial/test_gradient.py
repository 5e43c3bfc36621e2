"""FGSM, its iterated forms and PGD: closed forms on linear nets, and the faults met elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.adversarial import gradient as attacks
from jaxvision.adversarial.aims import cross_entropy, log_odds_against
from jaxvision.adversarial.gradient import iterations
from jaxvision.adversarial.threat import L2, LINF, Ball

RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((40, 4, 4, 1)), jnp.float32)
OPEN = Ball("linf", box=None)
EPS = jnp.float32([0.0, 0.05, 0.1, 0.3])

# As callers run them: whole programs, in place of one for every operation in them.
fgsm = jax.jit(attacks.fgsm, static_argnames=("f", "ball", "loss"))
pgd = jax.jit(
    attacks.pgd, static_argnames=("f", "ball", "steps", "relative_step", "restarts", "loss")
)
basic_iterative = jax.jit(attacks.basic_iterative, static_argnames=("f", "steps", "loss"))
least_likely = jax.jit(attacks.least_likely, static_argnames=("f", "steps"))


def linear(weights, bias=0.0):
    """Return a net of two classes whose class 1 leads by w.x + b."""
    weights, bias = jnp.asarray(weights, jnp.float32), jnp.float32(bias)

    def f(images):
        lead = images.reshape(len(images), -1) @ weights + bias
        return jnp.stack([jnp.zeros_like(lead), lead], 1)

    return f


def affine(classes=5, seed=1):
    rng = np.random.default_rng(seed)
    weights = jnp.asarray(rng.normal(size=(16, classes)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=(1, classes)), jnp.float32)
    return lambda images: images.reshape(len(images), -1) @ weights + bias


WEIGHTS = RNG.normal(size=16)
LINE = linear(WEIGHTS, -WEIGHTS.sum() / 2)
AFFINE = affine()


def classes(f, images=IMAGES):
    return jnp.argmax(f(images), 1).astype(jnp.int32)


def lead(f, images):
    return np.asarray(f(images)[:, 1], np.float64)


def test_fgsm_is_the_exact_maximizer_of_logistic_regression():
    """The margin falls by eps |w|_1, or in the box by sum_i |w_i| min(eps, room_i)."""
    labels = jnp.ones(len(IMAGES), jnp.int32)
    sizes = np.abs(np.float32(WEIGHTS)).astype(np.float64)
    for eps in (0.05, 0.3):
        free = fgsm(LINE, IMAGES, labels, eps, ball=OPEN)
        fall = lead(LINE, IMAGES) - lead(LINE, free.images)
        np.testing.assert_allclose(fall, eps * sizes.sum(), atol=1e-5)
        boxed = fgsm(LINE, IMAGES, labels, eps)
        x = np.asarray(IMAGES, np.float64).reshape(40, -1)
        room = np.where(WEIGHTS > 0, x, 1 - x)
        exact = (sizes * np.minimum(eps, room)).sum(1)
        fall = lead(LINE, IMAGES) - lead(LINE, boxed.images)
        np.testing.assert_allclose(fall, exact, atol=1e-5)
        many = pgd(LINE, IMAGES, labels, eps, steps=10)
        np.testing.assert_allclose(
            lead(LINE, IMAGES) - lead(LINE, many.images),
            exact,
            atol=1e-5,
        )


def test_with_more_classes_fgsm_is_not_exact():
    """The affine formula finds images that one step of FGSM misses."""
    f, images = affine(10, 3), jnp.asarray(np.random.default_rng(3).random((400, 16)), jnp.float32)
    labels = classes(f, images)
    gradient = np.asarray(jax.jacobian(lambda x: f(x[None])[0])(images[0]))
    logits = np.asarray(f(images))
    reach = np.full(400, np.inf)
    for i, label in enumerate(np.asarray(labels)):
        gaps = np.delete(logits[i, label] - logits[i], label)
        dual = np.delete(np.abs(gradient - gradient[label]).sum(1), label)
        reach[i] = (gaps / dual).min()
    eps = float(np.median(reach))
    found = np.asarray(fgsm(f, images, labels, eps, ball=OPEN).success)
    possible = reach < eps * 0.999
    assert not (found & (reach > eps * 1.001)).any()
    assert 0 < (possible & ~found).sum() < 0.2 * possible.sum()


@pytest.mark.parametrize("ball", [LINF, pytest.param(L2, marks=pytest.mark.slow)])
def test_every_epsilon_gives_what_it_gives_alone(ball):
    labels = classes(AFFINE)
    together = pgd(AFFINE, IMAGES, labels, EPS, ball=ball, steps=7)
    for i, eps in enumerate(EPS):
        alone = pgd(AFFINE, IMAGES, labels, eps, ball=ball, steps=7)
        np.testing.assert_allclose(
            together.images[i],
            alone.images,
            atol=1e-6,
        )
        np.testing.assert_array_equal(together.success[i], alone.success)
    assert bool(jax.vmap(ball.audit, (None, 0, 0))(IMAGES, together.images, EPS).passed.all())


@pytest.mark.parametrize("method", [fgsm, pgd, basic_iterative, least_likely])
def test_eps_0_is_the_identity_to_the_bit(method):
    """Field fault 14. Robust accuracy is then clean accuracy; infinity is the whole box."""
    labels = classes(AFFINE).at[:5].add(1) % 5
    nothing = method(AFFINE, IMAGES, labels, 0.0)
    np.testing.assert_array_equal(nothing.images, IMAGES)
    np.testing.assert_array_equal(nothing.success, labels != classes(AFFINE))
    everything = method(AFFINE, IMAGES, labels, jnp.inf)
    assert bool(jnp.isfinite(everything.images).all())
    one = method(AFFINE, IMAGES, labels, 1.0)
    np.testing.assert_array_equal(everything.images, one.images)
    assert int(everything.forwards) == int(one.forwards)


def test_a_step_above_eps_stays_in_the_ball():
    """Field fault 14: four times as long as eps, and of a linear net no worse for that."""
    labels = classes(LINE)
    far = pgd(LINE, IMAGES, labels, EPS, steps=3, relative_step=4.0)
    assert bool(jax.vmap(LINF.audit, (None, 0, 0))(IMAGES, far.images, EPS).passed.all())
    one = fgsm(LINE, IMAGES, labels, EPS)
    np.testing.assert_allclose(far.score, one.score, atol=1e-5)
    np.testing.assert_array_equal(far.images[0], IMAGES)


@pytest.mark.parametrize("ball", [pytest.param(LINF, marks=pytest.mark.slow), L2])
def test_a_zero_gradient_leaves_its_image_and_only_it(ball):
    """Field fault 12: a division by its norm spreads NaN over the batch."""

    def f(images):  # flat where the first pixel is below a tenth
        flat = images.reshape(len(images), -1)
        live = flat[:, :1] > 0.1
        return jnp.where(
            live,
            AFFINE(images),
            jax.lax.stop_gradient(AFFINE(images)),
        )

    images = IMAGES.at[:, 0, 0, 0].set(0.5).at[0, 0, 0, 0].set(0.05)
    labels = classes(f, images)
    found = pgd(f, images, labels, 0.3, ball=ball, steps=5)
    np.testing.assert_array_equal(found.images[0], images[0])
    alone = pgd(
        f,
        images[1:],
        labels[1:],
        0.3,
        ball=ball,
        steps=5,
    )
    np.testing.assert_allclose(
        found.images[1:],
        alone.images,
        atol=1e-6,
    )
    assert bool(jnp.isfinite(found.images).all())


def test_two_classes_targeted_is_untargeted_to_the_bit():
    """Field fault 18: a targeted attack that climbs, or is given the true label."""
    labels = classes(LINE)
    away = pgd(LINE, IMAGES, labels, EPS, steps=5)
    towards = pgd(
        LINE,
        IMAGES,
        labels,
        EPS,
        steps=5,
        targets=1 - labels,
    )
    np.testing.assert_array_equal(away.images, towards.images)
    np.testing.assert_array_equal(away.success, towards.success)
    to_itself = pgd(
        LINE,
        IMAGES,
        labels,
        0.3,
        steps=5,
        targets=labels,
    )
    assert bool((lead(LINE, to_itself.images) ** 2 >= lead(LINE, IMAGES) ** 2 - 1e-6).all())


def test_a_sure_net_does_not_look_robust():
    """Field fault 16: cross-entropy's gradient is 0 in float32 from a margin of 88 on."""
    labels = classes(AFFINE)
    plain = pgd(AFFINE, IMAGES, labels, 0.1, steps=10)

    def sure(images):
        return 1000 * AFFINE(images)

    assert plain.success.mean() > 0.3
    scaled = pgd(sure, IMAGES, labels, 0.1, steps=10)
    assert scaled.success.mean() >= plain.success.mean()
    assert int((scaled.norms.linf == 0).sum()) == 0
    blind = pgd(
        sure,
        IMAGES,
        labels,
        0.1,
        steps=10,
        loss=cross_entropy,
    )
    unchanged = int((blind.norms.linf == 0).sum())
    assert unchanged > 0
    assert blind.success.mean() < plain.success.mean()
    # Both losses point the same way where neither is flat.
    a, b = (
        jax.grad(lambda x, loss=loss: loss(AFFINE(x), labels).sum())(IMAGES)
        for loss in (log_odds_against, cross_entropy)
    )
    cosine = (a * b).sum((1, 2, 3)) / jnp.sqrt((a * a).sum((1, 2, 3)) * (b * b).sum((1, 2, 3)))
    np.testing.assert_allclose(cosine, 1.0, atol=1e-5)


def bumpy(images):
    """A net whose loss goes up and down along the climb: the last iterate is not the best."""
    wave = jnp.sin(40 * images.reshape(len(images), -1)).sum(1)
    return jnp.stack([jnp.full_like(wave, 4.0), wave], 1)


def test_the_best_iterate_is_returned_not_the_last():
    labels = jnp.zeros(len(IMAGES), jnp.int32)
    scores = [
        np.asarray(pgd(bumpy, IMAGES, labels, 0.3, steps=steps, relative_step=0.5).score)
        for steps in range(1, 9)
    ]
    assert (np.diff(scores, axis=0) >= -1e-5).all()
    found = pgd(
        bumpy,
        IMAGES,
        labels,
        0.3,
        steps=8,
        relative_step=0.5,
    )
    assert (found.best_step < 8).any()
    np.testing.assert_allclose(
        found.score,
        bumpy(found.images)[:, 1] - 4,
        atol=1e-5,
    )


def overflowing(images):
    """A net that changes its answer on the way to white, and overflows further on."""
    mean = images.reshape(len(images), -1).mean(1)
    lead = jnp.where(mean > 0.6, jnp.inf, 20 * mean)
    return jnp.stack([jnp.full_like(mean, 5.0), lead], 1)


def test_an_overflow_does_not_beat_a_success():
    gray, label = jnp.full((2, 4, 4, 1), 0.2), jnp.zeros(2, jnp.int32)
    for key in (None, jax.random.key(0)):
        found = pgd(overflowing, gray, label, 0.5, steps=8, key=key)
        assert bool(found.success.all())
        assert bool(jnp.isfinite(found.score).all())


def test_restarts_help_and_are_counted():
    labels = jnp.zeros(len(IMAGES), jnp.int32)
    key = jax.random.key(0)
    one = pgd(
        bumpy,
        IMAGES,
        labels,
        0.3,
        steps=4,
        key=key,
    )
    many = pgd(
        bumpy,
        IMAGES,
        labels,
        0.3,
        steps=4,
        key=jax.random.key(0),
        restarts=8,
    )
    assert many.score.mean() > one.score.mean() + 0.1
    # T steps and a last look, for each start; judging looks twice more.
    assert (int(one.forwards), int(one.backwards)) == (5 + 2, 4)
    assert (int(many.forwards), int(many.backwards)) == (8 * 5 + 2, 8 * 4)


def test_iterations_are_kurakin_s():
    assert [int(iterations(levels / 255)) for levels in (2, 4, 8, 16, 48)] == [3, 5, 10, 20, 52]
    found = basic_iterative(
        AFFINE,
        IMAGES,
        classes(AFFINE),
        jnp.float32([2, 16]) / 255,
    )
    np.testing.assert_array_equal(found.backwards, [3, 20])


def test_the_least_likely_class_is_reached():
    target = jnp.argmin(AFFINE(IMAGES), 1)
    found = least_likely(AFFINE, IMAGES, classes(AFFINE), 0.9, steps=300)
    assert (found.predictions == target).mean() > 0.9
    np.testing.assert_array_equal(found.success, found.predictions != classes(AFFINE))


def test_saved_as_8_bits_some_successes_are_lost():
    """Field fault 15: a perturbation below half a gray level does not survive."""
    images = jnp.round(255 * IMAGES) / 255
    labels = classes(AFFINE, images)
    found = pgd(AFFINE, images, labels, 0.7 / 255, steps=5)
    np.testing.assert_array_equal(found.success_8bit, False)
    larger = pgd(AFFINE, images, labels, 40 / 255, steps=5)
    assert larger.success.mean() > 0.7
    np.testing.assert_array_equal(larger.success_8bit, larger.success)


def test_a_file_of_8_bits_holds_nothing_outside_the_box():
    """Class 1 begins above white: it is reached without a box, and lost when saved."""
    beyond = linear(np.ones(4) / 4, -1.1)
    white, labels = jnp.ones((1, 2, 2, 1)), jnp.zeros(1, jnp.int32)
    found = fgsm(beyond, white, labels, 0.5, ball=OPEN)
    assert bool(found.success.all())
    assert not bool(found.success_8bit.any())
