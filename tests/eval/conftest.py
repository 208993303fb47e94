"""Tiny models, written once for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.tiny import tiny_clip, tiny_dual_encoder, tiny_scene

LABELS = ("beach", "forest", "harbor")


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def dual_folder(tmp_path_factory):
    return tiny_dual_encoder(tmp_path_factory.mktemp("models") / "dual")


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory):
    return tiny_scene(tmp_path_factory.mktemp("models") / "scene", LABELS)


@pytest.fixture(params=["clip", "dual"])
def encoder_folder(request, clip_folder, dual_folder):
    return {"clip": clip_folder, "dual": dual_folder}[request.param]
