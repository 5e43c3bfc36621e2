"""Players made of two nets: a generator that paints from codes, a discriminator that judges."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from jaxvision.generative.losses import Objective, discriminator_loss
from jaxvision.generative.players import Aside, Cost, Variables
from jaxvision.generative.regularizers import r1, with_noise
from jaxvision.types import Array, PyTree

Mixed = Literal["never", "discriminator", "both"]


@dataclass(frozen=True)
class Nets:
    """Two nets as functions of their variables, ``{'params', 'batch_stats'}``.

    Attributes:
      generate: codes [B, Z] -> examples [B, ...], and the generator's new batch statistics.
      judge: examples [B, ...] -> logits [B], and the discriminator's new batch statistics.
      latent: key -> codes [B, Z].
    """

    generate: Callable[[Variables, Array], tuple[Array, PyTree]]
    judge: Callable[[Variables, Array], tuple[Array, PyTree]]
    latent: Callable[[Array], Array]


@dataclass(frozen=True)
class Contest:
    """The losses of both players.

    Real and generated examples go through the discriminator apart, unless ``mixed`` says otherwise:
    batch norm over both at once sees which half an example is in. Only the discriminator's loss
    gives it new statistics, the real batch's first; only the generator's loss gives the
    generator's. Nothing is held back by ``stop_gradient``, for a loss is differentiated by its own
    player's parameters alone: the game's Jacobian, consensus and unrolled steps need how each
    gradient changes with the other player.

    Attributes:
      nets: the two.
      objective: what an example costs by its logit.
      gamma: of the penalty R1, traced or not; None leaves it out of the program.
      sigma: of instance noise, traced or not; None draws none.
      mixed: in whose loss the discriminator gets real and generated examples as one batch: in
        nobody's; in its own, as copied code has it, where the generator's examples then come to it
        alone; or in both players'.
    """

    nets: Nets
    objective: Objective
    gamma: Array | float | None = None
    sigma: Array | float | None = None
    mixed: Mixed = "never"

    @property
    def generator(self) -> Cost:
        """The generator's loss; it uses the real examples only where they are mixed in."""

        def cost(
            own: Variables, other: Variables, batch: PyTree, key: Array
        ) -> tuple[Array, Aside]:
            latent_key, noise_key = jax.random.split(key)
            fake, batch_stats = self.nets.generate(own, self.nets.latent(latent_key))
            if self.mixed == "both":
                real_key, noise_key = jax.random.split(noise_key)
                real = self._noisy(batch, real_key)
                _, logits, _ = self._together(other, real, self._noisy(fake, noise_key))
            else:
                logits, _ = self.nets.judge(other, self._noisy(fake, noise_key))
            return self.objective.generator(logits).mean(), Aside(batch_stats, {})

        return cost

    @property
    def discriminator(self) -> Cost:
        """The discriminator's loss of a batch of real examples [B, ...].

        Its metrics: ``real`` and ``fake``, the shares of examples that it takes for what they are.
        """

        def cost(
            own: Variables, other: Variables, batch: PyTree, key: Array
        ) -> tuple[Array, Aside]:
            latent_key, real_key, fake_key = jax.random.split(key, 3)
            fake, _ = self.nets.generate(other, self.nets.latent(latent_key))
            real = self._noisy(batch, real_key)
            fake = self._noisy(fake, fake_key)
            judged = self._apart if self.mixed == "never" else self._together
            of_real, of_fake, batch_stats = judged(own, real, fake)
            loss = discriminator_loss(self.objective, of_real, of_fake)
            if self.gamma is not None:
                loss += r1(
                    lambda x: self.nets.judge(own, x)[0],
                    real,
                    self.gamma,
                )
            metrics = {
                "real": jnp.mean(of_real > 0),
                "fake": jnp.mean(of_fake < 0),
            }
            return loss, Aside(batch_stats, metrics)

        return cost

    def _apart(self, variables: Variables, real: Array, fake: Array) -> tuple[Array, Array, PyTree]:
        """Return the logits of both, and the discriminator's batch statistics after both."""
        of_real, batch_stats = self.nets.judge(variables, real)
        after = variables | {"batch_stats": batch_stats}
        of_fake, batch_stats = self.nets.judge(after, fake)
        return of_real, of_fake, batch_stats

    def _together(
        self, variables: Variables, real: Array, fake: Array
    ) -> tuple[Array, Array, PyTree]:
        """Return the same of one batch that holds both."""
        logits, batch_stats = self.nets.judge(variables, jnp.concatenate([real, fake]))
        of_real, of_fake = jnp.split(logits, [len(real)])
        return of_real, of_fake, batch_stats

    def _noisy(self, examples: Array, key: Array) -> Array:
        return (
            examples
            if self.sigma is None
            else with_noise(
                examples,
                key,
                self.sigma,
            )
        )
