"""A whole configuration as the parts of a model: language model, tower, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from simulator.errors import SpecError, nearest
from simulator.importers.config import Config
from simulator.importers.decoders import DECODERS, SIZES, decoder_fields
from simulator.importers.ignored import ANY, TOWER, words
from simulator.importers.joined import JOINED, JoinedFamily, text_part, vision_part
from simulator.importers.readers import Fields
from simulator.importers.towers import TOWERS, Tower

_INSIDE: Final = {"siglip": "siglip_vision_model", "clip": "clip_vision_model"}
"""Pairs of towers for images and texts, of which the one for images is taken."""

_UNSAID: Final = {"gemma3": "tokens that are means of patches; its text_config can be imported by itself"}
"""What a workload cannot say, by `model_type`."""


@dataclass(frozen=True)
class Model:
    """The parts of a model, as fields of a workload."""

    config: Config
    family: str
    decoder: Fields | None
    tower: Tower | None
    parts: tuple[tuple[Config, frozenset[str]], ...]
    """The objects that were read, each with its keys that cost nothing."""
    remarks: tuple[str, ...] = ()

    def unknown(self) -> tuple[str, ...]:
        """Keys that nobody knows, by dotted path."""
        return tuple(key for part, ignored in self.parts for key in part.unread(ignored))


def read_model(config: Config) -> Model:
    """The model that a configuration describes.

    Raises:
        SpecError: when a size is missing, wrong or in contradiction to another, or a workload cannot say what is asked.
    """
    family = config.text("model_type")
    config.check()
    if family in DECODERS:
        model = _language_model(config, family)
    elif family in TOWERS or family in _INSIDE:
        model = _tower(config, family)
    elif family in JOINED:
        model = _joined_model(config, family, JOINED[family])
    else:
        raise _unknown_family(config, family)
    config.check()
    return model


def _unknown_family(config: Config, family: str) -> SpecError:
    known = sorted([*DECODERS, *TOWERS, *_INSIDE, *JOINED])
    if family in _UNSAID:
        return SpecError(f'{config.place}  model_type: "{family}" cannot be imported: a workload cannot say '
                         f"{_UNSAID[family]}")  # fmt: skip
    return SpecError(f'{config.place}  model_type: must be one of {", ".join(known)}, got "{family}"',
                     hint=nearest(family, known))  # fmt: skip


def _language_model(config: Config, family: str) -> Model:
    row = DECODERS[family]
    config.defaults = {key: value for key, value in row.defaults.items() if key not in SIZES}
    fields = decoder_fields(config, row)
    return Model(config, family, fields, None, ((config, ANY | row.ignored),))


def _tower(config: Config, family: str) -> Model:
    """A tower by itself: its tokens leave as they are."""
    remarks: tuple[str, ...] = ()
    part = config
    if family in _INSIDE:
        part = config.part("vision_config")
        remarks = ("only the tower for images is taken, without that for texts",)
    read, defaults = TOWERS[_INSIDE.get(family, family)]
    part.defaults = defaults if part is not config else {}
    tower = read(part)
    tower.fields.setdefault("merge", 1)
    tower.fields.setdefault("merger_width", 0)
    tower.fields.setdefault("output_width", 0)
    parts = [(part, TOWER)]
    if part is not config:
        parts.append((config, ANY | words("text_config logit_scale_init_value projection_dim")))
    return Model(config, family, None, tower, tuple(parts), remarks)


def _joined_model(config: Config, family: str, row: JoinedFamily) -> Model:
    """A language model and its tower."""
    text, text_family = text_part(config, row)
    vision, vision_family = vision_part(config, row)
    config.check()
    language = DECODERS[text_family]
    is_nested = text is not config and row.text is None
    text.defaults = {key: value for key, value in language.defaults.items() if is_nested or key not in SIZES}
    if text is not config and config.has("tie_word_embeddings"):
        text.tree = {**text.tree, "tie_word_embeddings": config.flag("tie_word_embeddings")}
    fields = decoder_fields(text, language)
    read, vision.defaults = TOWERS[vision_family]
    tower = read(vision)
    tower.fields.pop("resampler", None)  # pooling is for a tower by itself
    row.join(config, tower, fields)
    width, hidden = tower.fields["output_width"], fields["hidden"]
    if width != hidden:
        vision.complain("out_hidden_size" if vision.has("out_hidden_size") else "hidden_size",
                        f"must be the hidden_size of the language model ({hidden})", width)  # fmt: skip
    parts = [(vision, TOWER), (config, ANY | row.ignored | (language.ignored if text is config else words("")))]
    if text is not config:
        parts.insert(0, (text, ANY | language.ignored))
    return Model(config, family, fields, tower, tuple(parts))
