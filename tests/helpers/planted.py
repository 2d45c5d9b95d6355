"""Small planted shifts, and one step of a deep adapter, for the tests beside this file."""

import numpy as np
import torch

from shiftlab import Domain

QUICK = {"epochs": 10, "device": "cpu"}


def moved_blobs(seed, n=300):
    """Three classes, and the same turned a little, made wider and moved."""
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1, 2], n // 3)
    centres = np.array([[0, 0, 0, 0], [4, 0, 0, 0], [0, 4, 0, 0.0]])
    X, Xt = (centres[y] + rng.normal(size=(n, 4)) for _ in range(2))
    mix = np.eye(4)
    mix[0, 2] = mix[1, 3] = 0.3
    return X, y, Xt @ mix + [1.6, 1.6, 0, 0], y


def turned_blobs(seed, n=300, degrees=70):
    """Two classes, and the same turned about the origin."""
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], n // 2)
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    X, Xt = ([[-2.0, 0.0], [2.0, 0.0]] @ np.eye(2))[y] + 0.5 * rng.normal(size=(2, n, 2))
    return X, y, Xt @ turn.T, y


def turn_a_little(batch, generator):
    """Turn each row of two columns by up to 35 degrees, about what turned rows are apart."""
    angle = 0.6 * (2 * torch.rand(len(batch), generator=generator) - 1)
    cos, sin = angle.cos(), angle.sin()
    x, y = batch.T
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=1)


def last_step(model, X, y, Xt):
    """The method of an adapter with its network before training, and a step at full weight."""
    from shiftlab.deep.adaptation import Step

    context, *_ = model._context(Domain(X, y), Domain(Xt), torch.device("cpu"), 0)
    torch.manual_seed(0)
    method = model._method(context)
    context.net.train()
    rows = torch.arange(64)
    batches = context.source.batch(rows), context.labels[rows], None, context.target.batch(rows)
    return context, method, Step(context, *batches, rows, rows, 1.0)
