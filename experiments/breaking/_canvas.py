"""Nets that learn each image in the middle of a larger black canvas: moving cuts nothing off."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from experiments.breaking import _transforming as measured
from experiments.breaking._nets import Nets, some_of
from experiments.breaking._transforms import BORDERS, TRANSFORMS, all_poses
from jaxvision import data
from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.nets import Layers, layers_of, logits_of
from jaxvision.data import Splits
from jaxvision.data.augment import standardizer
from jaxvision.data.dataset import Dataset
from jaxvision.models.builders import INITIALIZERS, NETS
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.nets import Spec
from jaxvision.report.claims import Claim, Share
from jaxvision.report.record import Record
from jaxvision.report.stats import where_known
from jaxvision.training.arms import Arm, make_runs
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.step import Task
from jaxvision.types import PyTree

TIMES = 2  # as wide and as high: a turned square fits in


def framed(splits: Splits) -> Splits:
    """Return the images of both splits in the middle of a black canvas."""
    return splits._replace(train=_framed(splits.train), test=_framed(splits.test))


def _framed(dataset: Dataset) -> Dataset:
    height, width = dataset.images.shape[1:3]
    rows, columns = ((TIMES - 1) * side for side in (height, width))
    around = (
        (0, 0),
        (rows // 2, rows - rows // 2),
        (columns // 2, columns - columns // 2),
        (0, 0),
    )
    return dataset._replace(images=np.pad(dataset.images, around))


def trained(spec: Spec, seeds: Sequence[int]) -> Nets:
    """Return nets that are trained as those of the spec, on the canvas.

    Of the spec counts what nets in AlexNet's shape have: a net, its sizes and start, SGD of Caffe.
    """
    splits = framed(data.load(spec.dataset))
    shape = splits.train.images.shape[1:]
    kernel_init = INITIALIZERS[spec.initializer]()
    model = NETS[spec.net](splits.num_classes, shape, kernel_init, **spec.sizes)
    apply, preprocess = apply_function(model), standardizer(splits.train)
    trainer = Trainer(
        Task(apply, partial(caffe_sgd, spec.weight_decay), preprocess),
        splits.train,
        splits.test,
        spec.batch_size,
        spec.steps,
        mapping="map",
    )
    start = partial(initialize_runs, model, image_shape=shape)
    arm = Arm(start, {"learning_rate": spec.learning_rate})
    history = trainer.fit(make_runs({"canvas": arm}, seeds), spec.steps)

    def of(variables: PyTree) -> Logits:
        return logits_of(apply, preprocess, variables)

    def layers(variables: PyTree) -> Layers:
        return layers_of(apply, preprocess, variables)

    errors = history.test["error"][:, -1]
    return Nets(of, history.variables, errors, splits, layers)


def measured_on(nets: Nets, count: int) -> dict[str, np.ndarray]:
    """Return the mean P(true) over each range, [S, transforms], and the nets' errors [S].

    The ranges are those of the images, not of the canvas.
    """
    side = nets.data.test.images.shape[1] // TIMES
    poses = all_poses(TRANSFORMS, side)
    found = measured.look(nets, some_of(nets.data.test, count), poses, BORDERS["zero"])
    return {
        "canvas/area": measured.mean_by_range(found, side),
        "canvas/test_error": nets.test_error,
    }


def claim_of(not_run: str) -> Claim:
    """Return the claim on the nets of a canvas."""

    def turns_harm_most(record: Record) -> np.ndarray:
        area = record.arrays["canvas/area"]
        shift, scale, turn = area.T
        return where_known(np.minimum(shift, scale) > turn, area)

    return Claim(
        "canvas",
        "question, borders",
        "Turns harm most, too, where nets learn and see images on a black canvas twice as wide, "
        "which nothing leaves",
        turns_harm_most,
        Share(),
        not_run=not_run,
        needs=("canvas",),
    )
