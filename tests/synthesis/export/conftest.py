"""A run whose model was shown layouts, to be read alone."""

import pytest

from terrasynth.prompts.layouts.labels import Labels
from terrasynth.prompts.layouts.layout import Layout
from tests.synthesis.exports import layout_rows, write_run


@pytest.fixture(scope="session")
def placed_rows():
    return layout_rows(2)


@pytest.fixture(scope="session")
def placed(placed_rows, tmp_path_factory):
    """The run directory."""
    return write_run(tmp_path_factory.mktemp("placed") / "run", placed_rows)


@pytest.fixture(scope="session")
def labels(placed_rows):
    """The labels of each row's layout, by id."""
    return {row["id"]: Labels(Layout.from_json(row["layout"])) for row in placed_rows}
