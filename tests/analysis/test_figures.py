"""What figures share."""

from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from airbench.analysis.figures import plain_log_labels


@pytest.mark.parametrize("size", [(4.5, 3.2), (4.6, 3.6)])
@pytest.mark.parametrize(
    ("low", "high"), [(0.0005, 0.004), (0.03, 0.3), (0.05, 5.0), (1e-4, 0.1), (1e-6, 0.1), (62, 1000), (1, 1e6)]
)
def test_labels_of_a_logarithmic_axis_are_plain_and_leave_each_other_room(
    size: tuple[float, float], low: float, high: float
) -> None:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.plot([low, high], [0, 1])
    axes.set_xscale("log")
    plain_log_labels(axes.xaxis, [low, high])
    figure.canvas.draw()
    inside = [label for label in axes.get_xticklabels(which="both") if label.get_text()]
    left, right = axes.get_xlim()
    shown = [label for label in inside if left <= label.get_position()[0] <= right]
    assert len(shown) >= 2
    assert all(float(label.get_text()) == pytest.approx(label.get_position()[0]) for label in shown)
    boxes = [label.get_window_extent() for label in shown]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
