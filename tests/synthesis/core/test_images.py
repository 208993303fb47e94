"""Images as bytes and side by side."""

import numpy as np

from terrasynth.synthesis.core.images import contact_sheet


def test_a_contact_sheet_is_as_wide_as_its_images():
    image = np.zeros((8, 10, 3), np.uint8)
    assert contact_sheet([image] * 3, 7).shape == (8, 3 * 14 - 4, 3)
    assert contact_sheet([image] * 8, 7).shape == (2 * 12 - 4, 7 * 14 - 4, 3)
