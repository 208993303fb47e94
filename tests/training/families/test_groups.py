"""Groups that divide no width are wrong input, not an error of a library."""

import pytest

from terrasynth.training.errors import InputError
from terrasynth.training.families.autoencoder import AutoencoderSettings
from terrasynth.training.families.diffusion import DiffusionSettings
from terrasynth.training.families.latent_vq import LatentVQSettings
from terrasynth.training.families.vq import VQSettings
from terrasynth.training.presets import checked


@pytest.mark.parametrize(("kind", "channels"), [
    (AutoencoderSettings, [16, 24]), (VQSettings, [16, 24]), (DiffusionSettings, [16, 24]), (LatentVQSettings, 24),
])
def test_groups_that_do_not_divide_a_width_are_refused(kind, channels):
    widths = "16 and 24" if isinstance(channels, list) else "24"
    with pytest.raises(InputError, match=rf"groups 16 does not divide the 24 channels of a layer; set groups to a "
                                         rf"divisor of {widths}, such as {8 if widths != '24' else 24}"):
        checked(kind, {"channels": channels, "groups": 16}, "model")
    assert checked(kind, {"channels": channels, "groups": 8}, "model").groups == 8


def test_no_groups_are_refused():
    with pytest.raises(InputError, match="groups 0 does not divide the 16 channels"):
        checked(DiffusionSettings, {"channels": [16], "groups": 0}, "model")
