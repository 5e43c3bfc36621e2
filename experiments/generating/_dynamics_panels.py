"""The panels of gan_dynamics."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.generating import _dirac as dirac
from experiments.generating import _dynamics as dynamics
from experiments.generating._dynamics_claims import decay_of
from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes

TITLES = {
    "saturating": "Saturating:\nthe flow circles for ever",
    "non_saturating": "Non-saturating: as\nimaginary, yet it falls in",
    "r1": "Saturating + R1:\nthe flow spirals in",
}
WAYS = {"simultaneous": "both at once", "alternating": "by turns", "flow": "flow"}
EXTENT = 2.3


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _field(name: str, theta: np.ndarray, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the velocity of theta and psi in closed form, for the background."""
    push = _sigmoid(-theta * psi if name == "non_saturating" else theta * psi)
    drag = 0.3 if name == "r1" else 0.0
    return push * psi, -_sigmoid(theta * psi) * theta - drag * psi


def draw_portraits(axes: Sequence[Axes], record: Record, labels: Mapping[str, str]) -> None:
    """Draw three games as streams, with the paths of the flow and of both kinds of steps."""
    del labels
    ids = {
        "saturating": ("circle", "grows"),
        "non_saturating": ("falls-in", "imaginary-stays", "end-circle"),
        "r1": ("r1-rates",),
    }
    for ax, name in zip(axes, dynamics.DRAWN, strict=True):
        _draw_portrait(ax, record, name)
        plots.mark_contradicted(ax, record, *ids[name])


def _draw_portrait(ax: Axes, record: Record, name: str) -> None:
    ticks = np.linspace(-EXTENT, EXTENT, 25)
    velocity = _field(name, *np.meshgrid(ticks, ticks))
    streams = {"color": "#D3D7DB", "linewidth": 0.7, "arrowsize": 0.7, "density": 0.8}
    ax.streamplot(ticks, ticks, *velocity, zorder=1, **streams)
    _draw_paths(ax, record, name)
    if name == "non_saturating":
        _draw_end_circle(ax)
    ax.plot(0, 0, "o", color="#333333", markersize=5, zorder=5)
    start = {"color": "white", "markeredgecolor": "#333333", "markersize": 6, "zorder": 5}
    ax.plot(*dynamics.START, "o", **start)
    ax.grid(visible=False)
    sides = (-EXTENT, EXTENT)
    ax.set(xlim=sides, ylim=sides, aspect="equal")
    plots.describe(ax, TITLES[name], "generator θ", "discriminator ψ")
    if name == "saturating":
        _name_ways(ax)


def _draw_paths(ax: Axes, record: Record, name: str) -> None:
    looks = {
        "simultaneous": {"linewidth": 1.3, "zorder": 2},
        "flow": {"linewidth": 1.6 if name == "non_saturating" else 2.4, "zorder": 3},
    }
    if name == "saturating":  # elsewhere they would hide the flow, which they follow
        looks["alternating"] = {"marker": ".", "markersize": 3, "linestyle": "none", "zorder": 4}
    for way, look in looks.items():
        path = record.arrays[f"portrait/{name}/{way}"]
        path = path[: _inside(path)]
        ax.plot(*path.T, color=plots.color_of(WAYS[way]), **look)


def _draw_end_circle(ax: Axes) -> None:
    angle = np.linspace(0, 2 * np.pi, 100)
    radius = np.sqrt(2 * dynamics.RATE)
    looks = {"color": "#333333", "linestyle": (0, (4, 3)), "linewidth": 1.5}
    ax.plot(
        radius * np.cos(angle),
        radius * np.sin(angle),
        zorder=4,
        **looks,
    )
    pointer = {"arrowstyle": "-"}
    ax.annotate(
        "r² = 2h",
        (0.45, -0.45),
        (0.75, -1.95),
        arrowprops=pointer,
        fontsize=10.5,
    )


def _name_ways(ax: Axes) -> None:
    for row, way in enumerate(("flow", "alternating", "simultaneous")):
        words = WAYS[way]
        place = {"transform": ax.transAxes, "fontweight": "bold", "fontsize": 10, "zorder": 6}
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
        ax.text(
            0.03,
            0.19 - 0.075 * row,
            words,
            color=plots.color_of(words),
            bbox=box,
            **place,
        )


def _inside(path: np.ndarray) -> int:
    """Return how many places of a path come before it leaves the panel."""
    outside = np.abs(path).max(-1) > EXTENT
    return int(outside.argmax()) + 1 if outside.any() else len(path)


def draw_damping(ax: Axes, record: Record) -> None:
    """Draw the decay by gamma, on its closed form and beside the misprint."""
    gammas = dynamics.GAMMAS
    color = plots.color_of("R1")
    ax.plot(
        gammas[::12],
        decay_of(record, "gamma")[::12],
        "o",
        color=color,
        markersize=5,
    )
    plots.theory_line(
        ax,
        gammas,
        -dirac.damped(gammas).real.max(-1),
        "_theory",
    )
    printed = -dirac.misprinted(gammas).real.max(-1)
    ax.plot(
        gammas,
        printed,
        color=plots.color_of("misprint"),
        linestyle=":",
        label="_misprint",
    )
    ax.text(1.5, 0.66, "as printed in\nR3GAN, eq. 12", color=plots.color_of("misprint"))
    ax.text(1.05, 0.025, "dots: measured", color=color, fontweight="bold")
    ax.set(xlim=(0, 3), ylim=(0, 0.8))
    plots.describe(ax, "R1 damps fastest\nat γ = 1", "γ of R1", "decay a unit of time")
    plots.mark_contradicted(ax, record, "r1-critical", "r1-critical-misprint")


def draw_momentum(ax: Axes, record: Record) -> None:
    """Draw how a step stretches, by momentum."""
    fine = np.linspace(-0.6, 0.92, 60)
    forms = {"simultaneous": dirac.radius_at_once, "alternating": dirac.radius_by_turns}
    for row, (order, form) in enumerate(forms.items()):
        words = WAYS[order]
        found = record.arrays[f"radius/{order}/momentum"]
        color = plots.color_of(words)
        plots.theory_line(
            ax,
            fine,
            [form(dynamics.RATE, beta) - 1 for beta in fine],
            f"_{order}",
        )
        ax.plot(dynamics.BETAS, found - 1, "o", color=color)
        above = f"{found[-1] - 1:.3f}"  # a dot that would flatten all others
        ax.text(-0.6, 0.048 - 0.006 * row, above, color=color, fontweight="bold")
    ax.axhline(0, color="black", linewidth=1)
    ax.set_ylim(-0.015, 0.06)
    ax.text(-0.6, 0.027, "both at once", color=plots.color_of("both at once"), fontweight="bold")
    ax.text(
        -0.2,
        -0.011,
        "by turns",
        color=plots.color_of("by turns"),
        fontweight="bold",
    )
    ax.text(-0.6, 0.0545, "above, at β = .9:", fontsize=10.5)
    plots.describe(
        ax, "Momentum stretches\n(dashes: theory)", "momentum β", "growth of r in a step"
    )
    plots.mark_contradicted(ax, record, "momentum", "negative-momentum", "adam-order")


def draw_spectrum(ax: Axes, record: Record) -> None:
    """Draw the eigenvalues of a small GAN at the end, without R1 and with it."""
    for arm, words in enumerate(("no R1", "R1")):
        real, imaginary = record.arrays["small/spectrum"][arm].T
        looks = {"markersize": 4.5, "alpha": 0.75, "linestyle": "none"}
        marker = "o" if arm == 0 else "D"
        ax.plot(real, imaginary, marker, color=plots.color_of(words), **looks)
    ax.axvline(0, color="black", linewidth=1)
    ax.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    ax.set_xscale("symlog", linthresh=0.05)
    ax.set_yscale("symlog", linthresh=0.05)
    ax.set_xticks([-1, -0.1, 0, 0.1, 1], ["−1", "−.1", "0", ".1", "1"])
    ax.set_yticks([-1, -0.1, 0, 0.1, 1], ["−1", "−.1", "0", ".1", "1"])
    ax.minorticks_off()
    for row, words in enumerate(("no R1", "R1")):
        place = {"transform": ax.transAxes, "fontweight": "bold"}
        ax.text(
            0.7,
            0.2 - 0.09 * row,
            words,
            color=plots.color_of(words),
            **place,
        )
    plots.describe(
        ax,
        "Eigenvalues of a small\nGAN after training",
        "real: below 0 falls in",
        "imaginary: turns",
    )
    plots.mark_contradicted(ax, record, "nets-turn", "nets-saddle", "nets-calmer")
