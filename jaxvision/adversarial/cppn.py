"""Networks that paint an image from its coordinates, as genomes whose structure evolves.

Source: Nguyen, Yosinski & Clune 2015 (arXiv 1412.1897) and their code: a compositional pattern-
producing network (Stanley 2007) of sines, sigmoids, Gaussians and lines sees a pixel's column and
row (raw indices, as in that code), its distance from the middle, of 1 at the corners, and a
constant. It starts without hidden nodes. A child may gain, lose or move a connection and gain or
lose a node.

A genome is padded to N nodes: arrays of one shape, so children differ in numbers alone and a
generation is one batch. Connections run from lower to higher ``depth``; a node that splits a
connection lies halfway, and no circle can arise.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.adversarial.elites import Encoding
from jaxvision.adversarial.genomes import MUTATION_RATE, ImageShape, moved
from jaxvision.adversarial.pixels import cell_of
from jaxvision.types import Array, UserError

INPUTS = 4
ACTIVATIONS = 4  # sine, sigmoid, Gaussian, line
LARGEST_WEIGHT = 10.0
ADD_CONNECTION = 0.5
DELETE_CONNECTION = 0.3
MOVE_CONNECTION = 0.5
ADD_NODE = 0.5
DELETE_NODE = 0.2


class Cppn(NamedTuple):
    """A network of at most N nodes: inputs, then outputs, then places for hidden ones.

    Attributes:
      weights: float32 [N, N], from the row's node to the column's; counted where ``linked``.
      linked: bool [N, N].
      depth: float32 [N], 0 of inputs, 1 of outputs; what comes later has more.
      alive: bool [N].
      kind: int32 [N], of the activation: sine, sigmoid, Gaussian, line.
    """

    weights: Array
    linked: Array
    depth: Array
    alive: Array
    kind: Array


def cppn(
    shape: ImageShape,
    nodes: int = 32,
) -> Encoding:
    """Return the encoding of images [H, W, C] by networks of at most ``nodes`` nodes.

    One output is gray; three are hue, saturation and value. Outputs from -1 to 1 are black to full.

    Raises:
      UserError: images of another number of channels, or too few nodes for inputs and outputs.
    """
    outputs = shape[2]
    if outputs not in (1, 3):
        raise UserError(f"a network paints 1 or 3 channels, not {outputs}")
    if nodes < INPUTS + outputs:
        raise UserError(f"{nodes} nodes: inputs and outputs alone are {INPUTS + outputs}")
    coordinates = _coordinates(shape[0], shape[1])

    def express(genome: Cppn) -> Array:
        said = activate(genome, coordinates, outputs)
        painted = jnp.clip((said + 1) / 2, 0.0, 1.0)
        image = painted.T.reshape(shape)
        return hsv_to_rgb(image) if outputs == 3 else image

    return Encoding(
        draw=lambda key: _draw(key, nodes, outputs),
        mutate=lambda key, genome: mutate(key, genome, INPUTS + outputs),
        express=express,
    )


def activate(
    genome: Cppn,
    inputs: Array,
    outputs: int,
) -> Array:
    """Return what the outputs say [outputs, P] to inputs [INPUTS, P]."""
    # In the order of depth each node comes after all that it hears, inputs first.
    depth = jnp.where(genome.alive, genome.depth, 2.0)
    order = jnp.argsort(depth)
    weights = jnp.where(genome.linked, genome.weights, 0.0)
    weights = weights[order][:, order]
    kind = genome.kind[order]

    def node(place: Array, values: Array) -> Array:
        heard = weights[:, place] @ values
        return values.at[place].set(_activation(kind[place], heard))

    count = len(order)
    silent = jnp.zeros((count - INPUTS, inputs.shape[1]))
    known = jnp.concatenate([inputs, silent])
    values = lax.fori_loop(INPUTS, count, node, known)
    places = jnp.argsort(order)[INPUTS : INPUTS + outputs]
    return values[places]


def mutate(
    key: Array,
    genome: Cppn,
    fixed: int,
) -> Cppn:
    """Return a child; the first ``fixed`` nodes are inputs and outputs, which stay."""
    count = len(genome.alive)
    number_key, happens_key, lots_key = jax.random.split(key, 3)
    numbers = jax.random.uniform(number_key, (2 * count + 2, count))
    if_weight, weight, (if_kind, kind) = jnp.split(numbers, (count, 2 * count))
    genes = (genome.weights / LARGEST_WEIGHT + 1) / 2
    genes = moved(if_weight, weight, genes)
    drawn = cell_of(kind, ACTIVATIONS)
    genome = genome._replace(
        weights=(2 * genes - 1) * LARGEST_WEIGHT,
        kind=jnp.where(if_kind < MUTATION_RATE, drawn, genome.kind),
    )
    happens = jax.random.uniform(happens_key, (5,))
    # Lots of one table, turned for each use: an even choice every time, and a fifth of the draws.
    lots = jax.random.uniform(lots_key, (count, count))
    turns = jnp.arange(6) / 6
    lots = (lots[None] + turns[:, None, None]) % 1
    child = _with_connection(lots[0], genome)
    genome = _if(happens[0] < ADD_CONNECTION, child, genome)
    child = _without_connection(lots[1], genome)
    genome = _if(happens[1] < DELETE_CONNECTION, child, genome)
    child = _with_moved_connection(lots[2:4], genome)
    genome = _if(happens[2] < MOVE_CONNECTION, child, genome)
    child = _with_node(lots[4], genome, fixed)
    genome = _if(happens[3] < ADD_NODE, child, genome)
    child = _without_node(lots[5, 0], genome, fixed)
    return _if(happens[4] < DELETE_NODE, child, genome)


def hsv_to_rgb(image: Array) -> Array:
    """Return red, green and blue [..., 3] of hue, saturation and value [..., 3], all in [0, 1]."""
    hue, saturation, value = jnp.moveaxis(image, -1, 0)
    channels = []
    for offset in (5, 3, 1):
        place = (offset + 6 * hue) % 6
        ramp = jnp.clip(
            jnp.minimum(place, 4 - place),
            0.0,
            1.0,
        )
        channels.append(value * (1 - saturation * ramp))
    return jnp.stack(channels, -1)


def _coordinates(
    height: int,
    width: int,
) -> np.ndarray:
    """Return what a network sees of H W pixels, float32 [INPUTS, H W]."""
    rows, columns = np.indices((height, width), np.float32)
    down = rows - (height - 1) / 2
    right = columns - (width - 1) / 2
    from_middle = np.hypot(down, right)
    distance = from_middle / max(from_middle.max(), 1.0)
    seen = [columns, rows, distance, np.ones_like(distance)]
    return np.stack(seen).reshape(INPUTS, -1).astype(np.float32)


def _draw(
    key: Array,
    nodes: int,
    outputs: int,
) -> Cppn:
    """Return a network of inputs and outputs, all joined."""
    weight_key, kind_key = jax.random.split(key)
    number = jnp.arange(nodes)
    is_input = number < INPUTS
    is_output = (number >= INPUTS) & (number < INPUTS + outputs)
    kinds = jax.random.uniform(kind_key, (nodes,))
    genes = jax.random.uniform(weight_key, (nodes, nodes))
    return Cppn(
        weights=(2 * genes - 1) * LARGEST_WEIGHT,
        linked=is_input[:, None] & is_output[None, :],
        depth=jnp.where(is_input, 0.0, 1.0),
        alive=is_input | is_output,
        kind=cell_of(kinds, ACTIVATIONS),
    )


def _activation(kind: Array, x: Array) -> Array:
    gaussian = jnp.exp(-jnp.square(x))
    said = jnp.where(
        kind == 1,
        jax.nn.sigmoid(x),
        gaussian,
    )
    said = jnp.where(kind == 3, x, said)
    return jnp.where(kind == 0, jnp.sin(x), said)


def _with_connection(lots: Array, genome: Cppn) -> Cppn:
    new = _pick(lots, _free(genome))
    return genome._replace(linked=genome.linked | new)


def _without_connection(lots: Array, genome: Cppn) -> Cppn:
    old = _pick(lots, genome.linked)
    return genome._replace(linked=genome.linked & ~old)


def _with_moved_connection(lots: Array, genome: Cppn) -> Cppn:
    old = _pick(lots[0], genome.linked)
    new = _pick(lots[1], _free(genome))
    weight = jnp.where(old, genome.weights, 0.0).sum()
    changed = genome._replace(
        linked=(genome.linked & ~old) | new,
        weights=jnp.where(new, weight, genome.weights),
    )
    return _if(old.any() & new.any(), changed, genome)


def _with_node(
    lots: Array,
    genome: Cppn,
    fixed: int,
) -> Cppn:
    """Put a node into a connection: what it hears has the weight 1, what it says the old one."""
    edge = _pick(lots, genome.linked)
    source, target = edge.any(1), edge.any(0)
    number = jnp.arange(len(source))
    first_dead = jnp.argmin(genome.alive)
    new = (number == first_dead) & ~genome.alive
    new = new & (number >= fixed)
    start = jnp.where(source, genome.depth, 0.0).sum()
    end = jnp.where(target, genome.depth, 0.0).sum()
    halfway = (start + end) / 2
    between = (start < halfway) & (halfway < end)
    heard = source[:, None] & new[None, :]
    said = new[:, None] & target[None, :]
    weight = jnp.where(edge, genome.weights, 0.0).sum()
    weights = jnp.where(said, weight, genome.weights)
    grown = genome._replace(
        weights=jnp.where(heard, 1.0, weights),
        linked=(genome.linked & ~edge) | heard | said,
        depth=jnp.where(new, halfway, genome.depth),
        alive=genome.alive | new,
    )
    fits = edge.any() & new.any() & between
    return _if(fits, grown, genome)


def _without_node(
    lots: Array,
    genome: Cppn,
    fixed: int,
) -> Cppn:
    number = jnp.arange(len(genome.alive))
    hidden = genome.alive & (number >= fixed)
    node = _pick(lots, hidden)
    touched = node[:, None] | node[None, :]
    linked = genome.linked & ~touched
    return genome._replace(linked=linked, alive=genome.alive & ~node)


def _free(genome: Cppn) -> Array:
    """Return where a connection may come to be, bool [N, N]."""
    both = genome.alive[:, None] & genome.alive[None, :]
    forward = genome.depth[:, None] < genome.depth[None, :]
    return both & forward & ~genome.linked


def _pick(lots: Array, mask: Array) -> Array:
    """Return one true element of a mask, drawn evenly by ``lots`` of its shape, as another mask.

    Where there is none, neither has the other.
    """
    best = jnp.argmax(jnp.where(mask, lots, -1.0))
    places = jnp.arange(mask.size).reshape(mask.shape)
    return (places == best) & mask


def _if(
    condition: Array,
    one: Cppn,
    other: Cppn,
) -> Cppn:
    def chosen(a: Array, b: Array) -> Array:
        return jnp.where(condition, a, b)

    return jax.tree.map(chosen, one, other)
