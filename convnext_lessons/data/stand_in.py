"""Ten classes of rendered shapes, for lessons without photographs: our own code, learnable, clearly a stand-in."""

import numpy as np

SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "star", "bars", "chequers", "dots")


def render(count: int, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shapes in random colours, positions, sizes and slight turns, on noisy gradients.

    Args:
        count: how many, as evenly over the classes as it divides.
        side: of a picture, in pixels.
        rng: a numpy ``Generator``.

    Returns:
        (pictures, labels): uint8 [count, 3, side, side] and int64 [count], indices into ``SHAPES``.
    """
    labels = np.arange(count) % len(SHAPES)
    rng.shuffle(labels)
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    grid_y, grid_x = np.meshgrid(axis, axis, indexing="ij")
    pictures = np.empty((count, 3, side, side), np.uint8)
    for index, label in enumerate(labels):
        turn, scale = rng.uniform(-0.4, 0.4), rng.uniform(0.55, 0.9)
        dx, dy = grid_x - rng.uniform(-0.2, 0.2), grid_y - rng.uniform(-0.2, 0.2)
        u = (np.cos(turn) * dx + np.sin(turn) * dy) / scale
        v = (np.cos(turn) * dy - np.sin(turn) * dx) / scale
        front, back, slope = rng.uniform(0, 1, (3, 3, 1, 1))
        while np.abs(front - back).max() < 0.35:
            front = rng.uniform(0, 1, (3, 1, 1))
        mask = _shape(SHAPES[label], u, v)
        picture = np.where(mask, front, back + 0.3 * (slope - 0.5) * grid_x) + rng.normal(0, 0.04, (3, side, side))
        pictures[index] = (np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return pictures, labels


def _shape(name, u, v):
    """Where a shape is, in coordinates in which it reaches from about -1 to 1."""
    radius, box = np.hypot(u, v), np.maximum(abs(u), abs(v))
    match name:
        case "disc":
            return radius < 0.9
        case "ring":
            return (radius < 0.9) & (radius > 0.55)
        case "square":
            return box < 0.8
        case "frame":
            return (box < 0.85) & (box > 0.5)
        case "triangle":
            return (v > -0.6) & (v < 0.9 - 1.8 * abs(u))
        case "cross":
            return (box < 0.9) & (np.minimum(abs(u), abs(v)) < 0.25)
        case "star":  # four pointed arms
            return (np.minimum(abs(u), abs(v)) < 0.3 * (0.95 - box)) & (box < 0.95)
        case "bars":
            return (box < 0.9) & (np.floor((u + 0.9) / 0.3) % 2 == 0)
        case "chequers":
            return (box < 0.9) & ((np.floor((u + 0.9) / 0.45) + np.floor((v + 0.9) / 0.45)) % 2 == 0)
        case "dots":
            return (box < 0.9) & (np.hypot((u + 0.9) % 0.6 - 0.3, (v + 0.9) % 0.6 - 0.3) < 0.18)
