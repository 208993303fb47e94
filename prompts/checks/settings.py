"""Which prompts are let through: the settings of a recipe's `prompts.checks`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from terrasynth.errors import nearest
from terrasynth.prompts.errors import InputError
from terrasynth.prompts.scenes.ontology import PROFILES, load_ontology
from terrasynth.prompts.scenes.wording import words
from terrasynth.prompts.settings import first_mistake

Share = Annotated[float, Field(gt=0, le=1)]


class CheckSettings(BaseModel):
    """Which checks a prompt has to pass; they are made in the order of `prompts.checks.candidates.REASONS`.

    Attributes:
        view: Words of a view from the ground, and of general-purpose prompt expanders, are refused.
        keep_class: A name of the class has to stand in the text, and none of a class that it may not mention; not made
            for classes that the profile does not know.
        distinct: A text is given once; case, marks and hyphens do not count.
        near: Refused is a text whose 3-word shingles have this Jaccard similarity to an earlier one, or more.
        reference: Captions that should not be repeated: a file or folder as the `captions` expander reads it.
        reference_split: Rows of the reference that have a field `split` count only if it is this one; "all" for all.
        max_overlap: Refused is a text that has this Jaccard similarity to a caption of the reference, or more; 1 for
            equal wording only.
        max_tokens: Most tokens of a text; a prompt that has more takes the first of its choices that has not. "auto"
            for the limit of the generator's tokenizer.
        balance: t: a prompt is kept with p = min(1, t / count) of any of its concepts, its content words; counted in
            the class's first `POOL` candidates that pass the other checks (Xu et al., "Demystifying CLIP Data",
            arXiv 2309.16671, section 3.3).
        profile: Whose classes `keep_class` knows.
        vocabulary: The profile in whose words prompts are said; others are counted.
        strict_vocabulary: Prompts with words outside the vocabulary are refused.
        says: By class, lists of words; a text has to say one of each list, in the singular or the plural. So a class is
            drawn in what sets it apart from another (`terrasynth target` writes it).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    view: bool = True
    keep_class: bool = True
    distinct: bool = False
    near: Share | None = None
    reference: Annotated[str, BeforeValidator(lambda path: str(path) if isinstance(path, Path) else path)] | None = None
    reference_split: str = "train"
    max_overlap: Share = 1.0
    max_tokens: Literal["auto"] | Annotated[int, Field(gt=0)] | None = None
    balance: Annotated[int, Field(gt=0)] | None = None
    profile: str = "open"
    vocabulary: str | None = None
    strict_vocabulary: bool = False
    says: dict[str, Annotated[list[Annotated[list[str], Field(min_length=1)]], Field(min_length=1)]] | None = None

    @field_validator("profile", "vocabulary")
    @classmethod
    def _known(cls, profile: str | None) -> str | None:
        if profile is not None and profile not in PROFILES:
            raise ValueError(f"profile {profile!r} is unknown{nearest(profile, PROFILES)}; use {', '.join(PROFILES)}")
        return profile

    @field_validator("says")
    @classmethod
    def _single(cls, says: dict[str, list[list[str]]] | None) -> dict[str, list[list[str]]] | None:
        for word in (word for lists in (says or {}).values() for some in lists for word in some):
            if len(words(word)) != 1:
                raise ValueError(f"says names {word!r}, and single words are looked for; give the one that tells")
        return says

    @model_validator(mode="after")
    def _complete(self) -> CheckSettings:
        if self.strict_vocabulary and self.vocabulary is None:
            raise ValueError(f"strict_vocabulary needs a vocabulary; set it to one of {', '.join(PROFILES)}")
        if self.vocabulary is not None and not load_ontology(self.vocabulary).words:
            raise ValueError(f"vocabulary {self.vocabulary!r} allows any word; leave it out or use another profile")
        if self.max_overlap < 1 and self.reference is None:
            raise ValueError(f"max_overlap {self.max_overlap} needs a reference; set it to a file of captions")
        return self

    @classmethod
    def parse(cls, tree: Mapping[str, Any]) -> CheckSettings:
        """Settings from plain data.

        Raises:
            InputError: An unknown key (with the nearest known one) or a wrong value, on one line.
        """
        try:
            return cls.model_validate(dict(tree))
        except ValidationError as error:
            raise InputError(first_mistake(error, cls, "checks")) from error
