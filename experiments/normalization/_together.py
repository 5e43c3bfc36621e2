"""What trained nets predict, alone, together, and with masks drawn anew."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.normalization._groups import branched, grouped
from experiments.normalization._noisy import Lab, Way
from jaxvision.data import Dataset
from jaxvision.models.dropout import DropoutMLP
from jaxvision.models.layers import apply_function
from jaxvision.random import stream
from jaxvision.training import ensembles
from jaxvision.training.averaging import soup
from jaxvision.training.fit import History
from jaxvision.types import Array, PyTree

Scores = dict[str, np.ndarray]  # "error" (fraction), "loss" (nats), "calibration" [...]


def logits_of(net: DropoutMLP, variables: PyTree, inputs: Array) -> np.ndarray:
    """Return N nets' logits [N, B, K], leaves of ``variables`` [N, ...]."""
    return np.asarray(_logits_program(net)(variables, inputs))


@functools.cache
def _logits_program(net: DropoutMLP) -> Callable[[PyTree, Array], Array]:
    apply = apply_function(net)

    def one(variables: PyTree, inputs: Array) -> Array:
        params, statistics = variables["params"], variables["batch_stats"]
        return apply(params, statistics, inputs, train=False)[0]

    return jax.jit(jax.vmap(one, (0, None)))


def scores(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Return how good the predictions [..., B, K] are."""
    return {
        "error": ensembles.error(logits, labels),
        "loss": ensembles.log_loss(logits, labels),
        "calibration": ensembles.calibration_error(logits, labels),
    }


def ensemble_scores(logits: np.ndarray, labels: np.ndarray, sizes: Sequence[int]) -> Scores:
    """Return scores [S, sizes] of the first members of logits [S, M, B, K] together."""
    together = [ensembles.log_mean_probability(logits[:, :size], axis=1) for size in sizes]
    return scores(np.stack(together, 1), labels)


def sampled_scores(
    net: DropoutMLP,
    variables: PyTree,
    seeds: Sequence[int],
    keeps: dict[str, float],
    samples: int,
    images: tuple[Array, Array],
) -> Scores:
    """Return error and loss [S, samples] of Monte-Carlo dropout by the number of masks drawn.

    The prediction of k masks is the mean of their probabilities (Srivastava et al. 2014, section
    7.5; Gal & Ghahramani 2016, Eq. 6).

    Args:
      net: with dropout.
      variables: of S nets, leaves [S, ...].
      seeds: of the nets [S]; masks are of their stream ``dropout``, beyond the steps of training.
      keeps: what ``apply`` is told.
      samples: masks.
      images: preprocessed, and their labels.
    """
    apply = apply_function(net)
    inputs, labels = images

    def one(variables: PyTree, seed: Array) -> dict[str, Array]:
        net = variables["params"], variables["batch_stats"]

        def draw(total: Array, sample: Array) -> tuple[Array, dict[str, Array]]:
            key = stream(seed, "dropout", _BEYOND_TRAINING + sample)
            logits, _, _ = apply(*net, inputs, train=False, dropout_key=key, **keeps)
            total = total + jax.nn.softmax(logits)
            mean = total / (sample + 1).astype(jnp.float32)
            return total, _quality(mean, labels)

        empty = jnp.zeros((len(labels), classes))
        _, found = lax.scan(draw, empty, jnp.arange(samples))
        return found

    classes = net.num_classes
    found = jax.device_get(jax.jit(jax.vmap(one))(variables, jnp.asarray(seeds)))
    # As a share of whole numbers it is the same as that of scaled weights, where no answer differs.
    return {"error": found["wrong"] / len(labels), "loss": found["loss"]}


def _quality(probabilities: Array, labels: Array) -> dict[str, Array]:
    """Return wrong answers and log loss [] of probabilities [B, K]."""
    of_label = jnp.take_along_axis(probabilities, labels[:, None], axis=1)
    wrong = probabilities.argmax(-1) != labels
    return {"wrong": wrong.sum(), "loss": -jnp.log(of_label).mean()}


_BEYOND_TRAINING = 1 << 30


@dataclasses.dataclass(frozen=True)
class Judge:
    """Holds trained nets against the test images.

    Attributes:
      lab: that trained them.
      rest: images that no net was trained on and none is judged by: they choose temperatures.
    """

    lab: Lab
    rest: Dataset

    def members(self, way: Way, variables: PyTree, sizes: Sequence[int]) -> Scores:
        """Return what S groups of M nets, leaves [S, M, ...], predict alone and together."""
        labels = self.lab.data.test.labels
        logits = self._of_groups(way, variables, self.lab.data.test)
        rest = self._of_groups(way, variables, self.rest)
        half = logits.shape[1] // 2
        other_half = ensembles.log_mean_probability(logits[:, half : 2 * half], axis=1)
        alone = scores(logits, labels)
        together = ensemble_scores(logits, labels, sizes)
        whole = ensembles.log_mean_probability(logits, axis=1)
        found = {f"single/{name}": values.mean(1) for name, values in alone.items()}
        found |= {f"first/{name}": values[:, 0] for name, values in alone.items()}
        found |= {f"ensemble/{name}": values for name, values in together.items()}
        rest_whole = ensembles.log_mean_probability(rest, axis=1)
        return found | {
            "ensemble/calibrated_loss": self._calibrated(whole, rest_whole),
            "other_half/error": ensembles.error(other_half, labels),
            "correlation": np.array([ensembles.error_correlation(g, labels) for g in logits]),
        }

    def alone(self, name: str, way: Way, variables: PyTree) -> Scores:
        """Return what S nets predict, leaves [S, ...]."""
        logits = self._of(way, variables, self.lab.data.test)
        rest = self._of(way, variables, self.rest)
        found = scores(logits, self.lab.data.test.labels)
        found["calibrated_loss"] = self._calibrated(logits, rest)
        return _named(name, found)

    def masks(self, way: Way, variables: PyTree, samples: int) -> Scores:
        """Return what S nets with dropout predict by scaled weights, and by masks drawn anew."""
        lab = self.lab
        test = lab.data.test
        keeps = {
            "keep_input": way.keep_input,
            "keep": way.keep,
            "keep_last": way.keep_last,
        }
        images = lab.preprocess(test.images, None), test.labels
        net = lab.net(lab.kind_of(way))
        found = sampled_scores(net, variables, lab.seeds, keeps, samples, images)
        return self.alone("scaled", way, variables) | _named("masks", found)

    def averages(self, way: Way, looks: PyTree) -> Scores:
        """Return what S runs predict at their last step and averaged; see ``with_averages``."""
        test = self.lab.data.test
        last = jax.tree.map(lambda leaf: leaf[:, -1], looks)
        found = {}
        for name, variables in last.items():
            found |= self.alone(name, way, variables)
        logits = self._of_groups(way, looks["last"], test)
        predicted = ensembles.log_mean_probability(logits, axis=1)
        return found | _named("snapshots", scores(predicted, test.labels))

    def soup(self, name: str, way: Way, variables: PyTree) -> Scores:
        """Return what S soups of K nets, leaves [S, K, ...], predict, and their parts."""
        labels = self.lab.data.test.labels
        logits = self._of_groups(way, variables, self.lab.data.test)
        together = ensembles.log_mean_probability(logits, axis=1)
        by_part = jax.tree.map(lambda leaf: np.swapaxes(leaf, 0, 1), variables)
        mixed = soup(by_part)
        return self.alone(f"{name}/soup", way, mixed) | {
            f"{name}/parts/error": ensembles.error(logits, labels).mean(1),
            f"{name}/ensemble/error": ensembles.error(together, labels),
            f"{name}/disagreement": np.array([ensembles.disagreement(g) for g in logits]),
        }

    def soups(self, lab: Lab, way: Way, rate: float, members: History) -> Scores:
        """Return scores of soups: of nets that share nothing, and of branches of the first.

        Args:
          lab: that trained all members.
          way: in which they were trained, and are the branches.
          rate: learning rate.
          members: S groups of M nets, looked at where branches part.
        """
        config = lab.config
        count = config.n_branches
        nets = grouped(members.variables, config.members)
        own = jax.tree.map(lambda leaf: leaf[:, :count], nets)
        found = self.soup("own", way, own)
        shared = grouped(members.looks, config.members)
        runs = len(config.shared_steps) * config.seeds * count
        with lab.progress(runs * lab.steps(way), "branches") as bar:
            for i, step in enumerate(config.shared_steps):
                starts = jax.tree.map(lambda leaf, i=i: leaf[:, 0, i], shared)
                branches = branched(lab, way, rate, starts, count, bar.advance)
                found |= self.soup(f"shared/{step}", way, branches)
        return found

    def _of(self, way: Way, variables: PyTree, images: Dataset) -> np.ndarray:
        lab = self.lab
        inputs = lab.preprocess(images.images, None)
        return logits_of(lab.net(lab.kind_of(way)), variables, inputs)

    def _of_groups(self, way: Way, variables: PyTree, images: Dataset) -> np.ndarray:
        """Return logits [S, M, B, K] of nets [S, M, ...]."""
        groups, members = jax.tree.leaves(variables)[0].shape[:2]
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), variables)
        logits = self._of(way, flat, images)
        return logits.reshape(groups, members, *logits.shape[1:])

    def _calibrated(self, logits: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Return log losses [S] at the temperatures that are best on the rest."""
        labels = self.lab.data.test.labels
        pairs = zip(logits, rest, strict=True)
        return np.array(
            [
                ensembles.log_loss(net / ensembles.temperature(of_rest, self.rest.labels), labels)
                for net, of_rest in pairs
            ]
        )


def _named(name: str, found: Scores) -> Scores:
    return {f"{name}/{quantity}": values for quantity, values in found.items()}
