"""The verdicts of plain_vs_residual follow the science: broken on purpose, the right one changes.

Degradation itself needs two depths and minutes; here one depth of digits shows what a shortcut
changes (slow: a deep net compiles for half a minute), and made-up errors show that the claims about
depth judge what they say.
"""

import dataclasses

import numpy as np
import pytest

from experiments.depth import plain_vs_residual
from experiments.depth._protocol import parts_of
from jaxvision import cli
from jaxvision.data import cache
from jaxvision.parallel import feed
from jaxvision.progress import silent
from jaxvision.report import record as records
from jaxvision.report.claims import judge
from jaxvision.report.record import Record
from jaxvision.types import UserError

TINY = plain_vs_residual.PRESETS["tiny"]
CONFIG = dataclasses.replace(TINY, depths=(32,), images=0, width=4, seeds=5, steps=48)


def verdicts(config=CONFIG, **mutation) -> dict[str, str]:
    numbers, arrays = plain_vs_residual.measure(config, silent, **mutation)
    fields = dataclasses.asdict(config)
    record = Record("plain_vs_residual", "cpu", "x", "", fields, numbers, arrays, [], {})
    return {claim.id: claim.verdict for claim in judge(plain_vs_residual.claims(config), record)}


@pytest.mark.slow
def test_the_claims_of_one_depth_hold():
    found = verdicts()
    assert found["faster"] == found["learns"] == "reproduced"
    assert found["degradation"] == found["table6-20"] == "not run"


@pytest.mark.slow
def test_residual_labeled_plain():
    kinds = plain_vs_residual.KINDS
    swapped = {"plain": kinds["resnet"], "resnet": kinds["plain"]}
    assert verdicts(kinds=swapped)["faster"] == "contradicted"


@pytest.mark.slow
def test_shuffled_labels(relabelled):
    relabelled("shuffled", lambda rng, labels: rng.permutation(labels))
    assert verdicts(dataclasses.replace(CONFIG, dataset="shuffled"))["learns"] != "reproduced"


@pytest.mark.slow
def test_zeroed_updates():
    """At rate zero nothing is learned, so nothing is said of trained nets."""
    found = verdicts(dataclasses.replace(CONFIG, learning_rates=(0.0,)))
    for claim in ("faster", "learns", "responses", "lesion-mild", "lesion-fatal", "lesion-order"):
        assert found[claim] != "reproduced", claim


def made_up(plain: tuple[float, float], resnet: tuple[float, float]) -> Record:
    """The record of five seeds with these errors at 8 and 20 layers."""
    noise = 0.005 * np.arange(5)
    arrays = {}
    for kind, errors in (("plain", plain), ("resnet", resnet)):
        for depth, error in zip((8, 20), errors, strict=True):
            values = error + (noise if depth == 20 else noise[::-1])
            arrays |= {f"{kind}{depth}/{n}_error": values[:, None] for n in ("train", "test")}
            arrays[f"{kind}{depth}/branch_ratio"] = 1 / depth + noise[:, None] * np.ones(3)
            response = (2 if kind == "plain" else 1) / depth
            arrays[f"{kind}{depth}/response_std"] = response + noise[:, None] * np.ones(depth - 1)
            whole = values[:, None] * np.ones(4)
            arrays[f"{kind}{depth}/lesion"] = np.hstack([values[:, None], whole + 0.1])
    numbers = {"chance": {"train": 0.9, "test": 0.9}}
    return Record("plain_vs_residual", "cpu", "x", "", {}, numbers, arrays, [], {})


def judged(*ids, plain, resnet) -> dict[str, str]:
    claims = plain_vs_residual.claims(dataclasses.replace(CONFIG, depths=(8, 20)))
    chosen = [claim for claim in claims if claim.id in ids]
    return {c.id: c.verdict for c in judge(chosen, made_up(plain, resnet))}


OF_DEPTH = (
    "degradation",
    "degradation-test",
    "no-degradation",
    "cure",
    "responses-depth",
    "modifies-less",
)


def test_claims_about_depth_judge_what_they_say():
    upheld = judged(*OF_DEPTH, plain=(0.2, 0.6), resnet=(0.2, 0.1))
    assert set(upheld.values()) == {"reproduced"}
    swapped = judged(*OF_DEPTH, plain=(0.2, 0.1), resnet=(0.2, 0.4))
    changed = {id for id in upheld if swapped[id] == "contradicted"}
    assert changed == {"degradation", "degradation-test", "no-degradation", "cure"}
    alike = judged(*OF_DEPTH, plain=(0.2, 0.4), resnet=(0.2, 0.4))
    assert (alike["degradation"], alike["no-degradation"]) == ("reproduced", "contradicted")
    assert alike["cure"] == "inconclusive"


def test_nets_that_have_not_learned_are_not_judged():
    of_trained = ("no-degradation", "modifies-less", "responses-depth", "lesion-mild")
    trained = judged(*of_trained, plain=(0.2, 0.3), resnet=(0.2, 0.1))
    assert set(trained.values()) == {"reproduced"}
    untrained = judged(*of_trained, plain=(0.9, 0.9), resnet=(0.85, 0.85))
    assert set(untrained.values()) == {"inconclusive"}
    for plain, verdict in ((0.3, "reproduced"), (0.9, "inconclusive")):
        found = judged("responses", plain=(0.2, plain), resnet=(0.2, 0.1))
        assert found == {"responses": verdict}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": (21,)}, r"^depth=21: a CIFAR net"),
        ({"depths": (8, 9)}, r"^depth=9: a CIFAR net"),
        ({"imagenet": True}, "^depth=32: the ImageNet nets have .*--depths=18,34"),
        ({"watched": (0, 49)}, "^--watched=49 is beyond the 48 steps"),
    ],
)
def test_mistakes_are_found_before_data_are_read(change, message):
    unknown = dataclasses.replace(CONFIG, dataset="no-such-set", **change)
    with pytest.raises(UserError, match=message):
        verdicts(unknown)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shrink": 9}, "^--shrink=9 leaves nothing of images of 8 pixels"),
        ({"bn_parts": 3}, "^a batch of 16 images cannot be cut into 3 equal parts"),
        (
            {"batch_size": 50, "deterministic_reduction": True},
            "^a batch of 50 .* into 8 equal parts",
        ),
        ({"steps": 6}, "^6 steps are not a whole number of periods of 4"),
    ],
)
def test_mistakes_are_one_clear_line(change, message):
    """... and no net is trained before it."""
    with pytest.raises(UserError, match=message):
        verdicts(dataclasses.replace(TINY, **change))


@pytest.mark.parametrize(
    ("parts", "deterministic", "shards"),
    [(1, False, None), (1, True, 8), (2, False, 2), (2, True, 2)],
)
def test_a_deterministic_reduction_has_eight_parts_unless_told(parts, deterministic, shards):
    config = dataclasses.replace(CONFIG, bn_parts=parts, deterministic_reduction=deterministic)
    assert parts_of(config) == shards


def test_the_images_trained_on_are_a_sample_of_every_class(monkeypatch):
    seen = []

    def measured(config, net, model, task, data, *_):
        seen.append(data)
        return {"parameters": 0, "rates": 0.1, "tuning_loss": {}}

    monkeypatch.setattr(plain_vs_residual, "_measure_net", measured)
    plain_vs_residual.measure(dataclasses.replace(TINY, images=100), silent)
    counts = np.bincount(seen[0].train.labels, minlength=10)
    assert counts.sum() == 100
    assert counts.min() >= 9


def test_the_paper_s_numbers_are_judged_by_its_own_preset():
    for preset, run in (("paper", True), ("cpu", False), ("gpu", False)):
        claims = plain_vs_residual.claims(plain_vs_residual.PRESETS[preset])
        paper = [claim for claim in claims if claim.tier == "paper"]
        assert paper
        assert all((claim.not_run == "") == run for claim in paper)


@pytest.mark.slow
def test_a_prepared_cifar10(tfds_data_dir, tmp_path, capsys, monkeypatch):
    """The nets and the protocol of the gpu preset, four steps of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flags = (
        "--preset=gpu --depths=8 --width=2 --seeds=2 --steps=4 --period=2 --batch_size=16"
        f" --watched=0,1 --images=64 --data_dir={tfds_data_dir} --run_name=tiny"
        f" --results={tmp_path / 'results'} --workdir={tmp_path / 'work'}"
    )
    with pytest.raises(SystemExit) as ended:
        cli.main(plain_vs_residual, ["plain_vs_residual", *flags.split()])
    assert ended.value.code == 0, capsys.readouterr().err
    made = records.load(tmp_path / "results" / "tiny")
    assert made.numbers["chance"]["test"] == pytest.approx(0.9)
    assert made.arrays["resnet8/test_error"].shape == (2, 3)
    assert np.isfinite(made.arrays["plain8/delta_norm"]).all()


@pytest.mark.slow
def test_imagenet_nets_from_a_prepared_set(tfds_data_dir, tmp_path, capsys, monkeypatch):
    """From the command line to record and figure, on the prepared Tiny ImageNet.

    Held on the devices, then decoded straight to disk and streamed in chunks: the same record.
    """

    def run(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        flags = (
            "--preset=tiny --imagenet --dataset=tiny_imagenet20_32px --depths=18,34 --width=2"
            " --learning_rates=0.003"  # at the preset's a plain net of 34 layers may diverge
            f" --image_size=16 --images=64 --seeds=2 --data_dir={tfds_data_dir} --run_name=tiny"
            f" --results={tmp_path / name / 'results'} --workdir={tmp_path / name / 'work'}"
        )
        with pytest.raises(SystemExit) as ended:
            cli.main(plain_vs_residual, ["plain_vs_residual", *flags.split()])
        assert ended.value.code == 0, capsys.readouterr().err
        return records.load(tmp_path / name / "results" / "tiny")

    made = run("held")
    assert made.numbers["parameters"]["plain18"] == made.numbers["parameters"]["resnet18"]
    assert made.arrays["resnet34/lesion"].shape == (2, 1 + 16)
    assert (tmp_path / "held" / "results" / "tiny" / "figure.png").exists()
    assert "18-layer" in capsys.readouterr().out
    monkeypatch.setattr(cache, "LARGE", 1 << 16)
    monkeypatch.setattr(feed, "room_for_data", lambda: 1 << 16)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 1 << 16)  # two steps of a run on two devices
    streamed = run("streamed")
    assert streamed.numbers == made.numbers
    assert streamed.arrays.keys() == made.arrays.keys()
    for name, array in made.arrays.items():
        np.testing.assert_array_equal(streamed.arrays[name], array, err_msg=name)
