"""Tile images into a sheet."""

from __future__ import annotations

import numpy as np
import torch


def tile(pictures: torch.Tensor, columns: int) -> np.ndarray:
    """Images (N, 3, S, S) in [-1, 1] as one `uint8` (rows * S, columns * S, 3) sheet, padded with black."""
    n, channels, side, _ = pictures.shape
    rows = -(-n // columns)
    padded = torch.full((rows * columns, channels, side, side), -1.0)
    padded[:n] = pictures
    grid = padded.view(rows, columns, channels, side, side).permute(0, 3, 1, 4, 2)
    sheet = grid.reshape(rows * side, columns * side, channels)
    return sheet.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).numpy()
