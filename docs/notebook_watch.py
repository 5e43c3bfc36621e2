# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Do the gradients of my net vanish?
#
# A plain net of twelve layers, written in Flax as anybody would, without a thought of being
# watched. We look at what flows through it before it is trained, find the trap in its default
# initializer, and see whether training cares.
#
# This script is a notebook: Jupyter (with jupytext), VS Code and marimo open it.

# %%
import flax.linen as nn
import jax

import jaxvision as jv


class Plain(nn.Module):
    """Twelve layers of one width, ReLUs between them."""

    @nn.compact
    def __call__(self, x):
        """Map images [B, H, W, C] to logits [B, 10]."""
        x = x.reshape(len(x), -1)
        for _ in range(11):
            x = nn.relu(nn.Dense(64)(x))
        return nn.Dense(10)(x)


digits = jv.load_data("digits")
images, labels = digits.train.images[:64] / 255.0, digits.train.labels[:64]
net = Plain()
variables = net.init(jax.random.key(0), images)

# %% [markdown]
# ## Watch it
#
# One backward pass brings three numbers for every layer: the spread of its pre-activations
# (*signal*), the gradient there (*delta*), and the gradient of its weights (*dW*).

# %%
watched = jv.watch(net, variables, images, labels)
print(watched)

# %%
factor = 2 ** watched.octaves_per_layer()
print(f"each layer lets {factor:.2f} of the gradient through")

# %% [markdown]
# Half of a ReLU layer is silent, and weights of variance 1 / fan-in do not make up for it: in
# each layer the gradient loses a factor of about the square root of two. That is Flax's default.
#
# ## The cure, in the same net
#
# A sweep draws the weights of every layer anew, by each initializer in turn, for several seeds
# and rates, and trains all of them in one compiled program. Runs of one seed see the same images
# in the same order.

# %%
swept = jv.sweep(
    net,
    digits,
    initializers={"He": jv.initializers.he_backward(), "Flax": jv.initializers.flax_default()},
    seeds=range(3),
    learning_rates=[0.003, 0.01],
    steps=30,
    batch_size=16,
)
first = swept["delta_norm"].at(learning_rate=0.01, step=0).values
for name, delta in zip(swept.places["initializer"], first, strict=True):
    print(f"{name}: the first layer sees {(delta[:, 0] / delta[:, -1]).mean():.1e} of the gradient")

# %%
errors = swept["test_error"].at(step=30).values.mean(-1)
for name, by_rate in zip(swept.places["initializer"], errors, strict=True):
    for rate, error in zip(swept.places["learning_rate"], by_rate, strict=True):
        print(f"{name} at rate {rate}: {100 * error:.0f} % of the test images wrong")

# %% [markdown]
# ## One figure
#
# `swept.net(...)` gives a trained net back, as `(apply, params)`. All that looks into nets takes
# it.

# %%
one = {"learning_rate": 0.01, "seed": 0}
trained = {
    name: jv.watch(*swept.net(initializer=name, **one), images, labels)
    for name in swept.places["initializer"]
}
figure = jv.draw(trained)
figure.savefig("watched.png")

# %% [markdown]
# The experiment `he_init` asks the same question with paired statistics, at three depths, and
# says whether the claims of its paper held.

# %%
record = jv.load_record("experiments/results/he_init")
for claim in record.claims[:3]:
    print(f"{claim['verdict']}: {claim['sentence']}")
