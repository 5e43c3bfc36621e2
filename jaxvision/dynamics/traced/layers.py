"""Which equations of a traced net are layers: products of a signal with weights.

A value is a *weight* where it is made from parameters alone, and *fed* where the input is in it. A
layer is a product (of matrices, a convolution, a lookup) of a weight with something fed: so the
frameworks' modules need not be known. The program is read, nothing is computed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from jaxvision import conv_transpose
from jaxvision.dynamics.traced import sources as made
from jaxvision.dynamics.traced.plan import (
    Layer,
    Place,
    Plan,
    inner_program,
    inner_programs,
    loop_of,
)
from jaxvision.dynamics.traced.sources import Source, View
from jaxvision.native.definition import definition
from jaxvision.types import PyTree

PRODUCTS = {"dot_general", "conv_general_dilated", "conv2d"}
# Products by the native kernels, read as the program that stands there without a compiler.
NATIVE = {"act_conv", "conv_images", "conv_maps", "conv_kernel"}
# Programs inside a program that are read as if they stood in it.
INLINE = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"}
# What leaves the numbers as they are, one array in and one out.
_REARRANGING = {
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "copy_p",
    "expand_dims",
    "optimization_barrier",
    "reduce_precision",
    "reshape",
    "rev",
    "sharding_constraint",
    "squeeze",
    "transpose",
}
_CUTTING = {"slice", "dynamic_slice", "gather"}
_BRANCHING = {"while", "cond"}


def trace(apply: Callable[[PyTree, PyTree], PyTree], params: PyTree, images: PyTree) -> Plan:
    """Trace ``apply(params, images)`` and return its layers."""
    program, output = jax.make_jaxpr(apply, return_shape=True)(params, images)
    plan = Plan(program, output)
    leaves = jax.tree_util.tree_leaves_with_path(params)
    parents = [path[:-1] for path, _ in leaves]
    starts = [made.parameter(i, jax.numpy.ndim(leaf)) for i, (_, leaf) in enumerate(leaves)]
    fed = [Source(fed=True)] * len(jax.tree.leaves(images))
    _Reader(plan, parents).read(program.jaxpr, [*starts, *fed], (), ())
    return plan


def _holds_product(eqn: JaxprEqn) -> bool:
    return any(
        inner.primitive.name in PRODUCTS | NATIVE or _holds_product(inner)
        for program in inner_programs(eqn)
        for inner in program.jaxpr.eqns
    )


@dataclass
class _Reader:
    """Reads a program from top to bottom and fills a plan."""

    plan: Plan
    parents: Sequence[tuple]

    def read(
        self, jaxpr: Jaxpr, given: Sequence[Source], place: Place, rounds: tuple[int, ...]
    ) -> list[Source]:
        """Return the sources of the program's outputs."""
        known = dict.fromkeys(jaxpr.constvars, made.NOTHING)
        known |= dict(zip(jaxpr.invars, given, strict=True))

        def source(variable):
            return made.NOTHING if isinstance(variable, Literal) else known[variable]

        for number, eqn in enumerate(jaxpr.eqns):
            sources = [source(variable) for variable in eqn.invars]
            found = self._equation(eqn, sources, (*place, number), rounds)
            known |= dict(zip(eqn.outvars, found, strict=True))
        return [source(variable) for variable in jaxpr.outvars]

    def _equation(
        self, eqn: JaxprEqn, given: list[Source], place: Place, rounds: tuple[int, ...]
    ) -> list[Source]:
        name = eqn.primitive.name
        if name in NATIVE:
            return self._expanded(eqn, given, place, rounds)
        if name in INLINE:
            return self.read(inner_program(eqn).jaxpr, given, place, rounds)
        if name == "scan":
            return self._loop(eqn, given, place, rounds)
        if name in _REARRANGING:
            return [_rearranged(eqn, source) for source in given]
        if name in _CUTTING and not any(index.fed for index in given[1:]):
            return [_cut(eqn, given)]
        if name == "gather" and given[0].is_weight:
            return [self._layer(eqn, given, 0, place, rounds)]
        if name in PRODUCTS or (name not in _BRANCHING and _holds_product(eqn)):
            kernel = _kernel_of(eqn, given)
            if kernel is not None:
                rest = [made.mixed(given)] * (len(eqn.outvars) - 1)
                return [self._layer(eqn, given, kernel, place, rounds), *rest]
        if name == "add":
            self._bias(eqn, given, place)
        self._meet(name, given)
        return [made.mixed(given)] * len(eqn.outvars)

    def _layer(
        self,
        eqn: JaxprEqn,
        given: list[Source],
        kernel: int,
        place: Place,
        rounds: tuple[int, ...],
    ) -> Source:
        aval = eqn.outvars[0].aval
        layer = Layer(
            kernel=given[kernel],
            operand=kernel,
            rounds=rounds,
            output=jax.ShapeDtypeStruct(aval.shape, aval.dtype),
            primitive=eqn.primitive.name,
            summed=_summed(eqn, kernel, given[kernel].view),
        )
        index = len(self.plan.layers)
        self.plan.layers.append(layer)
        self.plan.products[place] = index
        return replace(made.mixed(given), fed=True, layer=index)

    def _bias(self, eqn: JaxprEqn, given: list[Source], place: Place) -> None:
        """See whether this sum adds its bias to a layer: a parameter that lies beside its weights.

        Other parameters that are added, such as the code of a position, are no part of the layer.
        """
        for signal, other in (given, reversed(given)):
            index = signal.layer
            if index is None or not other.is_weight or index in self.plan.biases.values():
                continue
            layer = self.plan.layers[index]
            beside = {self.parents[param] for param in layer.kernel.params}
            same_size = eqn.outvars[0].aval.size == layer.output.size
            if same_size and all(self.parents[param] in beside for param in other.params):
                self.plan.biases[place] = index
                self.plan.bias_params |= dict.fromkeys(other.params, index)

    def _meet(self, name: str, given: list[Source]) -> None:
        if not any(source.fed for source in given):
            return
        for source in given:
            for param in source.params if source.is_weight else ():
                self.plan.ways.setdefault(param, set()).add(name)

    def _expanded(
        self, eqn: JaxprEqn, given: list[Source], place: Place, rounds: tuple[int, ...]
    ) -> list[Source]:
        """Read the definition of a native kernel: batch norm's sums are made inside it."""
        avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
        program = jax.make_jaxpr(_definition_of(eqn))(*avals)
        self.plan.expanded[place] = program
        return self.read(program.jaxpr, given, place, rounds)

    def _loop(
        self, eqn: JaxprEqn, given: list[Source], place: Place, rounds: tuple[int, ...]
    ) -> list[Source]:
        level = len(rounds)
        inner = (*rounds, eqn.params["length"])
        closed, first, carried = loop_of(eqn)
        body = closed.jaxpr
        last = first + carried
        outer = [replace(source, layer=None) for source in given]
        fixed = outer[:first]
        sliced = [made.round_of(source, level) for source in outer[last:]]
        befores, afters = body.invars[first:last], body.outvars[: last - first]
        changes = [i for i, after in enumerate(afters) if after is not befores[i]]
        carry = outer[first:last]
        # What the carry is made from grows until a round adds nothing.
        while True:
            trial = _Reader(Plan(self.plan.program, None), self.parents)
            found = trial.read(body, [*fixed, *carry, *sliced], place, inner)
            grown = list(carry)
            for i in changes:
                grown[i] = made.carried(made.mixed([carry[i], found[i]]), level)
            if grown == carry:
                break
            carry = grown
        found = self.read(body, [*fixed, *carry, *sliced], place, inner)
        return [made.after_loop(source, level) for source in found]


def _definition_of(eqn: JaxprEqn) -> Callable:
    name = eqn.primitive.name
    if name == "act_conv":
        return partial(definition, eqn.params["spec"])
    return partial(conv_transpose.defined, name, geometry=eqn.params["geometry"])


def _kernel_of(eqn: JaxprEqn, given: list[Source]) -> int | None:
    """Return which operand holds the weights, if one does and something fed meets it."""
    weights = [
        i
        for i, (variable, source) in enumerate(zip(eqn.invars, given, strict=True))
        if source.is_weight and (eqn.primitive.name in PRODUCTS or len(variable.aval.shape) > 1)
    ]
    if len(weights) != 1 or not any(source.fed for source in given):
        return None
    return weights[0]


def _summed(eqn: JaxprEqn, kernel: int, view: View | None) -> tuple[int, ...] | None:
    if view is None or view.axes is None:
        return None
    if eqn.primitive.name == "dot_general":
        summed, _ = eqn.params["dimension_numbers"]
        places = summed[kernel]
    elif eqn.primitive.name == "conv2d":
        places = (0, 1, 2)
    elif eqn.primitive.name == "conv_general_dilated":
        _, inputs, *window = eqn.params["dimension_numbers"].rhs_spec
        places = (*window, inputs)
    else:
        return None
    return tuple(view.axes[place] for place in places)


def _rearranged(eqn: JaxprEqn, source: Source) -> Source:
    view = source.view
    if view is not None:
        view = replace(view, axes=_axes_after(eqn, view.axes))
    return replace(source, view=view)


def _axes_after(eqn: JaxprEqn, axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    name = eqn.primitive.name
    if axes is None or name == "rev":
        return None
    if name == "transpose":
        return tuple(axes[i] for i in eqn.params["permutation"])
    if name == "squeeze":
        gone = eqn.params["dimensions"]
        return tuple(axis for i, axis in enumerate(axes) if i not in gone)
    same = eqn.invars[0].aval.shape == eqn.outvars[0].aval.shape
    return axes if same else None


def _cut(eqn: JaxprEqn, given: list[Source]) -> Source:
    source = made.mixed(given)
    view = given[0].view
    if view is None:
        return source
    is_whole = view.is_whole and eqn.invars[0].aval.size == eqn.outvars[0].aval.size
    return replace(source, view=View(view.param, None, is_whole))
