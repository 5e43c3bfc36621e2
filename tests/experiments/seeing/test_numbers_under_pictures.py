"""The numbers under pictures of occlusion and backward_rules, of records made by hand."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from experiments.seeing import _covering_panels as covering_panels
from experiments.seeing import _rule_panels as rule_panels
from experiments.seeing import backward_rules
from experiments.seeing._rule_parts import PLAIN, SHOWN
from jaxvision.report.record import Record

SIDE = 4  # places, and pixels, of a side
RISING = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)


def record_of(arrays, **numbers):
    return Record("made", "cpu", "made", "a test", {}, numbers, arrays, [], {})


def low_at(row, column):
    """Return a map, 255 everywhere but at one place."""
    found = np.full((SIDE, SIDE), 255, np.uint8)
    found[row, column] = 0
    return found


def panels_of(strongest, projection, probability, predicted=0):
    """Return the record of one image's panels."""
    maps = {"strongest": strongest, "projection": projection, "probability": probability}
    arrays = {f"pictures/{name}": np.uint8(values)[None] for name, values in maps.items()}
    arrays["pictures/predicted"] = np.broadcast_to(np.int16(predicted), (1, SIDE, SIDE))
    arrays["pictures/images"] = np.zeros((1, SIDE, SIDE, 1), np.uint8)
    return record_of(arrays, classes=["disk", "ring", "bar"])


def numbers_of(*maps, **answers):
    """Return the words under the image, lows, projection, probability and answers."""
    return covering_panels._numbers(panels_of(*maps, **answers))[:, 0].tolist()


def test_a_map_that_falls_where_its_projection_has_energy_agrees_with_it():
    # What falls is 255 minus the map; ranks do not ask by how much.
    image, _, projection, probability, _ = numbers_of(255 - RISING, RISING**2, RISING)
    assert (image, projection, probability) == ("", "1.00", "-1.00")


def test_energy_is_taken_where_the_window_was():
    """A projection of twice as many pixels: its every other one, the first included."""
    pixels = np.full((2 * SIDE, 2 * SIDE), 77)
    pixels[::2, ::2] = RISING
    assert numbers_of(255 - RISING, pixels, RISING)[2] == "1.00"


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [((0, 0), (3, 3), "4"), ((0, 0), (0, 3), "3"), ((3, 1), (0, 1), "3"), ((2, 2), (2, 2), "0")],
)
def test_lows_are_as_many_places_apart_as_they_lie(one, other, apart):
    assert numbers_of(low_at(*one), RISING, low_at(*other))[1] == apart


def test_a_map_of_one_value_has_no_number():
    """It has no ranks and no low."""
    flat = np.full((SIDE, SIDE), 9)
    assert numbers_of(flat, RISING, RISING)[1:4] == ["none", "none", "none"]
    assert numbers_of(RISING, flat, RISING)[1:4] == ["0", "none", "1.00"]
    assert numbers_of(RISING, RISING, flat)[1:4] == ["none", "-1.00", "none"]


def test_other_answers_are_those_that_most_places_do_not_have():
    answers = np.full((SIDE, SIDE), 2)
    answers[0] = [0, 1, 1, 2]
    assert numbers_of(RISING, RISING, RISING, predicted=answers)[4] == "19 %"  # 3 of 16
    assert numbers_of(RISING, RISING, RISING, predicted=1)[4] == "0 %"


def words_of(draw):
    """Return the words in a panel that is drawn; the figure is closed."""
    figure, ax = plt.subplots()
    draw(ax)
    found = [text.get_text() for text in ax.texts]
    plt.close(figure)
    return found


def test_the_numbers_of_occlusion_stand_under_their_pictures():
    record = panels_of(low_at(0, 0), 255 - low_at(0, 0), low_at(0, 3), predicted=1)
    found = words_of(lambda ax: covering_panels.draw_pictures(ax, record))
    assert found[:5] == ["", "3", "1.00", "-0.07", "0 %"]


def test_under_a_map_stands_its_correlation_with_the_image():
    images = np.random.default_rng(0).integers(0, 256, (SHOWN, SIDE, SIDE, 1), dtype=np.uint8)
    flat = np.full_like(images, 128)
    arrays = {f"pictures/{name}": np.stack([255 - images, flat]) for name in PLAIN}
    arrays["pictures/guided"] = np.stack([images, flat])
    record = record_of({"pictures/images": images} | arrays)
    table = backward_rules.METHODS
    found = words_of(lambda ax: rule_panels.draw_pictures(ax, record, table))
    rows = np.reshape(found[: (1 + len(PLAIN)) * 2 * SHOWN], (1 + len(PLAIN), 2 * SHOWN))
    assert set(rows[0]) == {""}
    for name, row in zip(PLAIN, rows[1:], strict=True):
        assert set(row[:SHOWN]) == {"1.00" if name == "guided" else "-1.00"}
        assert set(row[SHOWN:]) == {"none"}


def test_a_correlation_is_pearsons():
    one, other = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    assert rule_panels._correlation(one, 5 + 2 * one) == "1.00"
    assert rule_panels._correlation(one, other) == "0.00"
    assert rule_panels._correlation(one, one**2) == f"{15 / np.sqrt(5 * 49):.2f}"
