"""Nets as other people write them, and how each is perturbed by hand at the output of a layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Conv(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
        x = nn.BatchNorm(use_running_average=True)(x)
        x = nn.gelu(nn.Conv(4, (3, 3), use_bias=False, feature_group_count=2)(x))
        return nn.Dense(3)(x.mean((1, 2)))


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(x))
        return nn.Dense(3)(jnp.tanh(nn.Dense(6)(x)))


class Shared(nn.Module):
    """A Dense(8) that is used three times."""

    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(8)
        return layer(jnp.sin(layer(jnp.sin(layer(x)))))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return jnp.tanh(nn.Dense(4)(x)), None


class Scanned(nn.Module):
    """Three layers in ``nn.scan``, computed again in the backward pass, stacked on axis 1."""

    @nn.compact
    def __call__(self, x):
        stack = nn.scan(
            nn.remat(Block), variable_axes={"params": 1}, split_rngs={"params": True}, length=3
        )
        return nn.Dense(3)(stack(name="stack")(x, None)[0])


def scanned_by_hand(params, x, shifts):
    dense = params["stack"]["Dense_0"]
    for i in range(3):
        layer = {name: leaf[:, i] for name, leaf in dense.items()}
        x = jnp.tanh(affine(layer, x) + shifts["stack/Dense_0"][i])
    return affine(params["Dense_0"], x) + shifts["Dense_0"]


def affine(layer, x):
    return x @ layer["kernel"] + layer["bias"][None]


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.RNN(nn.LSTMCell(4), name="rnn")(x)[:, -1])


def recurrent_by_hand(params, x, shifts):
    cell = params["LSTMCell_0"]
    shifts = {name.rpartition("/")[2]: shift for name, shift in shifts.items()}

    def gate(name, x, h, time):
        from_x = x @ cell[f"i{name}"]["kernel"] + shifts[f"i{name}"][time]
        return from_x + affine(cell[f"h{name}"], h) + shifts[f"h{name}"][time]

    h = c = jnp.zeros((len(x), 4))
    for time in range(x.shape[1]):
        i, f, g, o = (gate(name, x[:, time], h, time) for name in "ifgo")
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return affine(params["Dense_0"], h) + shifts["Dense_0"]


def by_modules(net, variables):
    """Return ``f(params, x, shifts)``: an unmodified Linen net, shifts added behind its modules."""

    def perturbed(params, x, shifts):
        used = {}

        def intercept(call, args, kwargs, context):
            out = call(*args, **kwargs)
            name = "/".join(context.module.path)
            if name not in shifts or context.method_name != "__call__":
                return out
            used[name] = used.get(name, 0) + 1
            return out + shifts[name if used[name] == 1 else f"{name}#{used[name]}"]

        with nn.intercept_methods(intercept):
            return net.apply({**variables, "params": params}, x)

    return perturbed
