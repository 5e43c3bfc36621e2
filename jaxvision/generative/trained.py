"""A game handed to the loop that trains everything else: periods, looks, checkpoints, resume.

``Trainer(GameTask(...), train, test, ...)`` then takes games for runs: ``fit`` and ``fit_long`` cut
them into periods, read them by looks, save them and resume to the bit. A run's variables are
``{'params': {'generator', 'discriminator'}, 'batch_stats': {...}}``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax

from jaxvision.generative.game import Step, alternating
from jaxvision.generative.losses import Objective
from jaxvision.generative.players import Game, GameState, Variables, initial_state
from jaxvision.parallel.shards import Split
from jaxvision.random import stream
from jaxvision.types import Array, Hyper, PyTree, UserError


@dataclass(frozen=True)
class GameTask:
    """The functions that one game on a data set is made of.

    Attributes:
      game: from the run's traced hyper-parameters to the players; their batch is what
        ``preprocess`` returns.
      judge: (discriminator's variables, examples [B, ...]) -> logits [B], as in evaluation.
      objective: what evaluation counts a test image's logit for.
      preprocess: ``(uint8 images [B, H, W, C], key or None) -> float32 images``; a key asks for the
        training-time augmentation.
      order: what the players do within a step. The discriminator moves once in it: a step has one
        batch.

    Raises:
      UserError: ``order`` asks for several moves of the discriminator.
    """

    game: Callable[[Hyper], Game]
    judge: Callable[[Variables, Array], Array]
    objective: Objective
    preprocess: Callable[[Array, Array | None], Array]
    order: Step = alternating

    def __post_init__(self) -> None:
        moves = getattr(self.order, "keywords", {}).get("discriminator_steps", 1)
        if moves != 1:
            raise UserError(
                f"discriminator_steps={moves}: a step of a trainer has one batch, which serves one"
                " move; call the order yourself with a batch for each"
            )

    def start(self, variables: PyTree, hyper: Hyper) -> GameState:
        """Return the state before the first step."""
        generator, discriminator = (
            {"params": variables["params"][name], "batch_stats": variables["batch_stats"][name]}
            for name in ("generator", "discriminator")
        )
        return initial_state(self.game(hyper), generator, discriminator)

    def step(
        self,
        state: GameState,
        images: Array,
        labels: Array,
        hyper: Hyper,
        seed: Array,
        split: Split = Split(),  # noqa: B008 (a tuple)
    ) -> tuple[GameState, dict[str, Array]]:
        """Take one step of the game; its ``loss`` is the discriminator's.

        Raises:
          UserError: the batch is to be cut into parts; a game's is one.
        """
        del labels
        if split.parts > 1:
            raise UserError("the batch of a game is not cut into parts: run it on one data device")
        real = self.preprocess(images, stream(seed, "augment", state.step))
        key = stream(seed, "latent", state.step)
        state, metrics = self.order(self.game(hyper), state, real, key)
        return state, metrics | {"loss": metrics["discriminator_loss"]}

    def sums(
        self,
        state: GameState,
        images: Array,
        labels: Array,
        count: Array | int,
        batch_size: int,
        devices: int = 1,
    ) -> tuple[Array, Array]:
        """Return each batch's sum of the discriminator's losses, and of images it takes for fakes.

        All test images are real. Both are [ceil(N / batch_size)]; the first ``count`` images count.
        """
        del labels, devices
        batches = -(-images.shape[0] // batch_size)
        rows = jnp.arange(batches * batch_size).reshape(batches, batch_size)

        def one_batch(rows: Array) -> tuple[Array, Array]:
            inputs = self.preprocess(images[jnp.minimum(rows, count - 1)], None)
            logits = self.judge(state.discriminator.variables, inputs)
            keep = rows < count
            lost = jnp.where(keep, self.objective.real(logits), 0.0)
            return lost.sum(), jnp.sum((logits < 0) & keep)

        return lax.map(one_batch, rows)
