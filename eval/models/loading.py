"""Load an evaluator's weights through `transformers`, and turn what can be wrong with them into one clear line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from terrasynth.errors import one_line
from terrasynth.eval.errors import InputError
from terrasynth.eval.models.references import ResolvedModel, check_safetensors

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_REPORTS = "transformers.modeling_utils"  # the logger that they go to

def load_config(resolved: ResolvedModel) -> PreTrainedConfig:
    """Read the configuration.

    Raises:
        InputError: It cannot be read or reached, or names an architecture that `transformers` does not know.
    """
    from transformers import AutoConfig

    import terrasynth.eval.models.caption_network
    import terrasynth.eval.models.efficientnet_lite
    import terrasynth.eval.models.inception
    import terrasynth.eval.models.residual_tower  # noqa: F401 - all register their configurations with AutoConfig

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            resolved.location, revision=resolved.revision or "main", trust_remote_code=False
        )
    except (OSError, ValueError) as error:  # what transformers raises for unreadable, unreachable and unknown
        raise InputError(unusable(resolved, error)) from error
    return config


def load_weights(
    auto: Any, resolved: ResolvedModel, config: PreTrainedConfig, **settings: object,  # noqa: ANN401
) -> PreTrainedModel:
    """Load a model in `float32`, in evaluation mode, from `safetensors` only.

    Args:
        auto: The `transformers` class to load through.
        settings: What the architecture takes besides, such as `add_pooling_layer`.

    Raises:
        InputError: Pickled, missing, broken or incomplete weights.
    """
    import torch
    from safetensors import SafetensorError

    if resolved.local:
        check_safetensors(resolved.folder, resolved.reference)
    try:
        with _without_report():
            model, info = auto.from_pretrained(
                resolved.location, revision=resolved.revision or "main", config=config, use_safetensors=True,
                dtype=torch.float32, output_loading_info=True, **settings,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(unusable(resolved, error)) from error
    if missing := sorted(info["missing_keys"]):
        # transformers would go on with random numbers in their place.
        raise InputError(
            f"model {resolved.reference!r}: the weights lack {missing[0]!r} and {len(missing) - 1} more; "
            "they belong to another architecture, save the model again"
        )
    loaded: PreTrainedModel = model.eval()
    return loaded


@contextmanager
def _without_report() -> Iterator[None]:
    """Without transformers' table of weights that a checkpoint has or lacks beside the network.

    What is lacking is refused by `load_weights`; what is there beside it, such as the head of a classifier of which the
    features are wanted, is left out on purpose. A table that an error refers to, of shapes or conversions, is shown.
    """
    logger = logging.getLogger(_REPORTS)
    logger.addFilter(_says_more)
    try:
        yield
    finally:
        logger.removeFilter(_says_more)


def _says_more(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    return "LOAD REPORT" not in said or "MISMATCH" in said or "CONVERSION" in said


def commit_of(config: PreTrainedConfig) -> str | None:
    """The Hub commit that a configuration came from; None for a folder."""
    commit: str | None = getattr(config, "_commit_hash", None)
    return commit


def unusable(resolved: ResolvedModel, error: BaseException) -> str:
    """One line for what went wrong in a library while loading a model."""
    fix = (
        "check the files in the folder" if resolved.local
        else "check the id, the revision and the connection, or use an embedded model"
    )
    return f"model {resolved.reference!r} cannot be loaded: {one_line(error)}; {fix}"
