"""The benchmark of maps: its problem, our side, what it refuses, its table; nothing is timed."""

import numpy as np
import pytest

from benchmarks import attribution, attribution_jax
from benchmarks.attribution import BATCHED, CASES, DEFAULTS, MOST, OURS


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small = {"SIZE": 8, "CHANNELS": (2, 3), "POOLED": (False, True)}
    for name, value in small.items():
        monkeypatch.setattr(attribution, name, value)


def logits(given):
    """Return the logits of the problem's net, [B, K], by the definition of a convolution."""
    x = given.images.astype(float) - attribution.CENTER
    layers = list(zip(given.kernels, given.biases, strict=True))
    for (kernel, bias), is_pooled in zip(layers[:-1], attribution.POOLED, strict=True):
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        looks = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
        x = np.maximum(np.einsum("bhwiyx,yxio->bhwo", looks, kernel) + bias, 0)
        if is_pooled:
            b, h, w, c = x.shape
            x = x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))
    kernel, bias = layers[-1]
    return x.reshape(len(x), -1) @ kernel + bias


def test_our_net_is_the_problem_s():
    given = attribution.problem(3)
    call, variables = attribution_jax.net(given)
    np.testing.assert_allclose(call(variables, given.images)[0], logits(given), atol=1e-5)


def test_occlusion_is_the_mean_fall_of_the_windows_that_cover_a_pixel(tmp_path):
    given = attribution.problem(2)
    _, facts = attribution_jax.prepare("occlusion:2", str(tmp_path))
    found = np.load(facts["maps"])
    # Windows of 8 on images of 8: one, which covers everything.
    gray = given._replace(images=np.full_like(given.images, attribution.CENTER))
    falls = (logits(given) - logits(gray))[np.arange(2), given.classes]
    expected = np.broadcast_to(falls[:, None, None], found.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("method", "channels"), [("guided", (3,)), ("saliency", ())])
def test_our_maps_are_left_for_the_check(method, channels, tmp_path):
    run, facts = attribution_jax.prepare(f"{method}:2", str(tmp_path))
    run(1)
    found = np.load(facts["maps"])
    assert found.shape == (2, 8, 8, *channels)
    assert np.abs(found).max() > 0


def test_our_pictures_are_liked_better_than_their_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(attribution_jax, "STEPS", 5)
    _, facts = attribution_jax.prepare("pictures:3", str(tmp_path))
    given = attribution.problem(3)
    first = given._replace(images=attribution.first_pictures(given.images))
    assert (facts["steps"], facts["pictures"]) == (5, 3)
    assert facts["score"] > logits(first)[np.arange(3), given.classes].mean()


def test_maps_that_differ_are_refused_but_for_a_few_that_rounding_turned():
    maps = attribution.problem(100).images
    turned = maps + 1e-6
    turned[7] = 0.0
    attribution.check_maps("x", maps, turned)
    for wrong in (maps * 1.01, np.where(maps > 0.5, maps, np.nan), maps[:1]):
        with pytest.raises(RuntimeError, match=r"maps (of|are)"):
            attribution.check_maps("x", maps, wrong)


@pytest.mark.parametrize("wrong", [{"steps": 50}, {"pictures": 1}, {"score": 2.0}])
def test_less_work_is_refused(wrong):
    told = {"steps": 100, "pictures": 20, "score": 3.0}
    attribution.check("pictures:20", told, told | {"score": 3.01})
    with pytest.raises(RuntimeError, match=next(iter(wrong))):
        attribution.check("pictures:20", told, told | wrong)


def test_each_of_captum_s_sides_has_its_goal():
    def side(ms):
        return {"ms": ms, "clean": 1, "samples": [0], "batching": "64 images"}

    case = "guided:1000"
    results = {case: {OURS: side(4.0), BATCHED: side(10.0), DEFAULTS: side(50.0)}}
    assert attribution.ratios(results) == {BATCHED: {case: 0.4}, DEFAULTS: {case: 0.08}}
    table = attribution.markdown(results)
    assert f"| {CASES[case]} | 4 | 10 | 50 | 64 images | 3/3 |" in table
    assert f"| {CASES[case]} / {BATCHED} | 0.4 | {MOST[BATCHED]:g} | met |" in table
    assert f"| {CASES[case]} / {DEFAULTS} | 0.08 | {MOST[DEFAULTS]:g} | **missed** |" in table
