"""Single convolutions: the native kernels beside the same operation in JAX, in turns.

    python -m benchmarks.kernels [--cores=2]

Microseconds of CPU time on one core (of wall time on several): the lowest of nine rounds in which
the two take turns. "conv" is the convolution alone; "all" has scale, shift and ReLU before it and
the moments after it. "gradient" is forward and backward.
"""

import argparse
import time
from functools import partial

from jaxvision import runtime

CASES = [
    # batch, image side, channels in and out, window, stride, padding
    (128, 32, 16, 16, 3, 1, "SAME"),
    (128, 16, 32, 32, 3, 1, "SAME"),
    (128, 8, 64, 64, 3, 1, "SAME"),
    (128, 32, 16, 32, 3, 2, "SAME"),
    (64, 8, 32, 32, 3, 1, "SAME"),
    (64, 8, 16, 16, 3, 1, "SAME"),
    (16, 8, 8, 16, 2, 1, "WRAP"),
    (16, 8, 16, 16, 2, 1, "WRAP"),
    (16, 4, 16, 32, 2, 1, "WRAP"),
    (16, 4, 32, 32, 2, 1, "WRAP"),
    (16, 2, 32, 32, 2, 1, "WRAP"),
    (16, 2, 16, 16, 2, 1, "WRAP"),
]
ROUNDS, SECONDS = 9, 0.05


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=1)
    cores = parser.parse_args().cores
    runtime.configure(cpu_devices=1 if cores == 1 else None)
    clock = time.process_time if cores == 1 else time.perf_counter
    print(
        f"{'batch, image, channels, window, stride':40} {'what':14} {'JAX':>9} {'native':>9}  ratio"
    )
    for case in CASES:
        for what in ("conv", "conv gradient", "all", "all gradient"):
            plain, native = measure(case, what, clock)
            batch, side, inputs, outputs, window, stride, _ = case
            shape = f"{batch} x {side}x{side}, {inputs}->{outputs}, {window}x{window}, {stride}"
            ratio = native / plain
            print(f"{shape:40} {what:14} {plain:9.1f} {native:9.1f}  {ratio:.2f}", flush=True)


def measure(case, what, clock):
    """Return the microseconds of JAX and of the kernels."""
    arrays = operands(case)
    programs = [compiled(mode, case, what, arrays) for mode in ("off", "on")]
    lowest = [float("inf")] * 2
    for _ in range(ROUNDS):
        for i, program in enumerate(programs):
            lowest[i] = min(lowest[i], seconds(program, arrays, clock))
    return [1e6 * value for value in lowest]


def operands(case):
    import jax

    batch, side, inputs, outputs, window, _, _ = case
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch, side, side, inputs))
    kernel = jax.random.normal(keys[1], (window, window, inputs, outputs))
    return x, kernel, *jax.random.normal(keys[2], (3, inputs))


def compiled(mode, case, what, arrays):
    """Return the compiled program, traced with or without kernels."""
    import jax

    from jaxvision.native import switch

    switch.configure(mode)
    jax.clear_caches()
    function = partial(run, case, what.startswith("all"))
    if what.endswith("gradient"):
        function = jax.value_and_grad(partial(loss, function), argnums=(0, 1, 2, 3))
    return runtime.jit(function).lower(*arrays).compile()


def run(case, everything, x, kernel, scale, bias, center):
    from jaxvision.act_conv import Scaled, act_conv

    _, _, _, _, _, stride, padding = case
    images = Scaled(x, scale, bias, center) if everything else x
    out = act_conv(images, kernel, stride, padding, relu=everything, moments=everything)
    return out.y, out.moments


def loss(function, *arrays):
    y, moments = function(*arrays)
    return (y**2).sum() + (0 if moments is None else moments.var.sum())


def seconds(program, arrays, clock):
    """Return the mean of as many calls as fill a little while."""
    import jax

    begun, calls, took = clock(), 0, 0.0
    while took < SECONDS:
        jax.block_until_ready(program(*arrays))
        calls += 1
        took = clock() - begun
    return took / calls


if __name__ == "__main__":
    main()
