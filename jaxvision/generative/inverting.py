"""How an inverter learns: by the features, the image and a discriminator, and who pauses when.

Source: Dosovitskiy & Brox 2016 (arXiv 1602.02644), and the authors' training script. The net that
is inverted stays as it is. The inverter gets its features of an image, the code, and is to
make the image again: so that the net's features of both agree (``compared``, of another layer), so
that the pixels do, and so that a discriminator takes it for real. Without the third the image is a
blur: the mean of all that have such features.

``Trainer(InverterTask(...), train, test, ...)`` takes inverters for runs, as of ``trained`` games.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.generative.losses import NON_SATURATING, discriminator_loss
from jaxvision.generative.pixels import scaled
from jaxvision.generative.players import (
    Aside,
    Game,
    GameState,
    Player,
    PlayerState,
    Variables,
    both_moved,
    gradients,
    initial_state,
)
from jaxvision.parallel.shards import Split
from jaxvision.random import stream
from jaxvision.types import Array, Hyper, PyTree, UserError


class Weights(NamedTuple):
    """Of the three losses, each a mean over values.

    Attributes:
      feature: of the squared error of the compared features over their mean square.
      image: of the squared error of pixels in [-1, 1].
      adversarial: of the discriminator's, -log D.
    """

    feature: float
    image: float
    adversarial: float


# The source's, as means: its sums over 227x227 pixels of 0 to 255 by 2e-6, halved, are 2,513 times
# the mean over pixels in [-1, 1]. Its sum over 9,216 features, by .01 and halved, is 46 times their
# mean squared error; the size of its features is not known here, and stands for that of ours.
DOSOVITSKIY = Weights(feature=46.0, image=2513.0, adversarial=100.0)

# Of the discriminator's loss over the generator's adversarial one, from the script: below the first
# the discriminator pauses until it is above the second; above the third the generator pauses, until
# the discriminator would pause or has come back.
PAUSE_DISCRIMINATOR, RESUME, PAUSE_GENERATOR = 0.1, 0.5, 10.0
DECAY = 4e-4  # of weights


class Turns(NamedTuple):
    """Who moves in a step, bool []."""

    generator: Array
    discriminator: Array


def next_turns(turns: Turns, ratio: Array) -> Turns:
    """Return who moves next, by the discriminator's loss over the generator's, [].

    The three rules of the script, one after the other.
    """
    too_good = (ratio < PAUSE_DISCRIMINATOR) & turns.discriminator
    generator = turns.generator | too_good
    discriminator = turns.discriminator & ~too_good
    is_back = (ratio > RESUME) & ~discriminator
    generator |= is_back
    discriminator |= is_back
    too_bad = (ratio > PAUSE_GENERATOR) & generator
    return Turns(generator & ~too_bad, discriminator | too_bad)


class Seen(NamedTuple):
    """What the inverted net sees in B images.

    Attributes:
      code: the features that are inverted [B, Z].
      compared: the features that must come back [B, ...], of mean square 1.
      logits: [B, K].
    """

    code: Array
    compared: Array
    logits: Array


class InverterState(NamedTuple):
    """Everything that is carried from step to step: arrays only.

    Attributes:
      game: the inverter, called generator, and the discriminator.
      encoder: the net that is inverted, never changed.
      turns: who moves next.
    """

    game: GameState
    encoder: PyTree
    turns: Turns

    @property
    def step(self) -> Array:
        """Steps done so far, int32 []."""
        return self.game.step

    @property
    def params(self) -> dict[str, PyTree]:
        """The weights of both that learn."""
        return self.game.params

    @property
    def batch_stats(self) -> dict[str, PyTree]:
        """What else a run's variables hold: batch statistics, and the net that is inverted."""
        return self.game.batch_stats | {"encoder": self.encoder}


class _Batch(NamedTuple):
    """What both losses get.

    Attributes:
      images: in [-1, 1].
      seen: what the encoder sees in them.
      codes: that images are made of: those seen, or drawn ones.
      encoder: the net that is inverted.
      hyper: of the run.
    """

    images: Array
    seen: Seen
    codes: Array
    encoder: PyTree
    hyper: Hyper


@dataclass(frozen=True)
class InverterTask:
    """The functions of one inverter on a data set.

    A run's variables are ``{'params': {'generator', 'discriminator'}, 'batch_stats': {...,
    'encoder'}}``, the last what ``encode`` takes. Its hyper-parameters are those of the optimizer,
    ``adversarial``, what share of that loss's weight there is, and ``inverts``: 1, or 0 for a net
    that inverts nothing, the same one as the generator of a GAN. It gets codes that are uniform on
    [-1, 1], has the adversarial loss alone, and nobody ever pauses.

    Attributes:
      paint: (variables, codes [B, Z]) -> images [B, H, W, C] in (-1, 1).
      judge: (variables, images, train) -> logits [B], new batch statistics.
      encode: (encoder, images in [-1, 1]) -> what it sees.
      optimizer: from the run's hyper-parameters to that of both players.
      weights: of the losses.
    """

    paint: Callable[[Variables, Array], Array]
    judge: Callable[[Variables, Array, bool], tuple[Array, PyTree]]
    encode: Callable[[PyTree, Array], Seen]
    optimizer: Callable[[Hyper], optax.GradientTransformation]
    weights: Weights = DOSOVITSKIY

    def start(self, variables: PyTree, hyper: Hyper) -> InverterState:
        """Return the state before the first step."""
        generator, discriminator = (
            {"params": variables["params"][name], "batch_stats": variables["batch_stats"][name]}
            for name in ("generator", "discriminator")
        )
        game = initial_state(self._game(hyper), generator, discriminator)
        both = Turns(jnp.bool_(True), jnp.bool_(True))
        return InverterState(game, variables["batch_stats"]["encoder"], both)

    def step(
        self,
        state: InverterState,
        images: Array,
        labels: Array,
        hyper: Hyper,
        seed: Array,
        split: Split = Split(),  # noqa: B008 (a tuple)
    ) -> tuple[InverterState, dict[str, Array]]:
        """Take one step: both gradients where both stand, then whoever has a turn moves.

        Metrics: ``loss`` of the inverter and its parts ``feature``, ``image``, ``adversarial``
        without their weights; ``discriminator``, what that one loses.

        Raises:
          UserError: the batch is to be cut into parts; an inverter's is one.
        """
        del labels
        if split.parts > 1:
            raise UserError("an inverter's batch is not cut into parts: run it on one data device")
        real = scaled(images)
        seen = self.encode(state.encoder, real)
        key = stream(seed, "latent", state.step)
        code_key, unused = jax.random.split(key)  # no loss draws
        drawn = jax.random.uniform(code_key, seen.code.shape, minval=-1.0)
        codes = jnp.where(hyper["inverts"] > 0, seen.code, drawn)
        batch = _Batch(real, seen, codes, state.encoder, hyper)
        game = self._game(hyper)
        found = gradients(game, state.game, batch, unused)
        of_generator, of_discriminator = found
        after = both_moved(game, state.game, found)
        generator = _if(state.turns.generator, after.generator, state.game.generator)
        discriminator = _if(
            state.turns.discriminator, after.discriminator, state.game.discriminator
        )
        parts = of_generator.aside.metrics | {"discriminator": of_discriminator.loss}
        turns = next_turns(state.turns, parts["discriminator"] / parts["adversarial"])
        turns = Turns(*(turn | (hyper["inverts"] == 0) for turn in turns))
        after = GameState(generator, discriminator, after.step)
        return InverterState(after, state.encoder, turns), parts | {"loss": of_generator.loss}

    def sums(
        self,
        state: InverterState,
        images: Array,
        labels: Array,
        count: Array | int,
        batch_size: int,
        devices: int = 1,
    ) -> tuple[Array, Array]:
        """Return each batch's sum of image errors, and of images whose class the net then misses.

        The image error is the mean squared one of pixels in [-1, 1]; a class is missed where the
        net that is inverted puts the inverter's image elsewhere than the image itself. Both are
        [ceil(N / batch_size)]; the first ``count`` images count.
        """
        del labels, devices
        batches = -(-images.shape[0] // batch_size)
        rows = jnp.arange(batches * batch_size).reshape(batches, batch_size)

        def one_batch(rows: Array) -> tuple[Array, Array]:
            real = scaled(images[jnp.minimum(rows, count - 1)])
            seen = self.encode(state.encoder, real)
            made = self.paint(state.game.generator.variables, seen.code)
            again = self.encode(state.encoder, made)
            errors = jnp.square(made - real).mean((1, 2, 3))
            missed = again.logits.argmax(-1) != seen.logits.argmax(-1)
            keep = rows < count
            return jnp.where(keep, errors, 0.0).sum(), jnp.sum(missed & keep)

        return lax.map(one_batch, rows)

    def _game(self, hyper: Hyper) -> Game:
        optimizer = self.optimizer(hyper)
        return Game(Player(self._inverter_cost, optimizer), Player(self._judge_cost, optimizer))

    def _inverter_cost(
        self, own: Variables, other: Variables, batch: _Batch, key: Array
    ) -> tuple[Array, Aside]:
        del key
        made = self.paint(own, batch.codes)
        again = self.encode(batch.encoder, made)
        logits, _ = self.judge(other, made, True)
        parts = {
            "feature": jnp.square(again.compared - batch.seen.compared).mean(),
            "image": jnp.square(made - batch.images).mean(),
            "adversarial": NON_SATURATING.generator(logits).mean(),
        }
        feature, image, adversarial = self.weights
        loss = feature * parts["feature"] + image * parts["image"]
        loss = batch.hyper["inverts"] * loss
        loss += batch.hyper["adversarial"] * adversarial * parts["adversarial"]
        return loss, Aside(own["batch_stats"], parts)

    def _judge_cost(
        self, own: Variables, other: Variables, batch: _Batch, key: Array
    ) -> tuple[Array, Aside]:
        """Lose by real and made images, each through the discriminator by itself."""
        del key
        made = self.paint(other, batch.codes)
        of_real, batch_stats = self.judge(own, batch.images, True)
        of_made, batch_stats = self.judge(own | {"batch_stats": batch_stats}, made, True)
        return discriminator_loss(NON_SATURATING, of_real, of_made), Aside(batch_stats, {})


def authors_adam(hyper: Hyper) -> optax.GradientTransformation:
    """Return Adam with the source's decay of 4e-4 inside the gradient.

    Reads ``learning_rate`` and ``beta1``: the source has 2e-4 and .9.
    """
    adam = optax.adam(hyper["learning_rate"], hyper["beta1"])
    return optax.chain(optax.add_decayed_weights(DECAY), adam)


def _if(condition: Array, one: PlayerState, other: PlayerState) -> PlayerState:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
