"""What a configuration does not say: the phases of one frame, their tokens and their precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from simulator.errors import SpecError
from simulator.importers.model import Model
from simulator.importers.quantisation import matrix_precision, plain_precision
from simulator.importers.towers import Tower

SIDES: Final = (448, 448)
"""Height and width of an image, in pixels, for a tower that takes any."""


@dataclass(frozen=True)
class Question:
    """One frame of the workload."""

    prompt: int = 512
    """Text tokens of the prompt; those of images come on top."""
    decode: int = 128
    """Decoded tokens; none if 0."""
    images: int | None = None
    """Images of one frame; None for one, where the model sees."""
    image_sides: tuple[int, int] | None = None
    """Height and width of an image in pixels; None for those of the configuration."""
    precision: str | None = None
    """Precision of all phases; None for that of the configuration."""


@dataclass(frozen=True)
class Frame:
    """The pipeline as fields of a workload, and what was decided for it."""

    fields: dict[str, Any]
    remarks: tuple[str, ...]


def frame_of(model: Model, question: Question) -> Frame:
    """The phases of one frame.

    Raises:
        SpecError: when the question does not fit the model.
    """
    config = model.config
    plain, chosen, remarks = _precisions(model, question.precision)
    pipeline: list[dict[str, Any]] = []
    notes = []
    visual_tokens = 0
    if model.tower is not None:
        images, patches, words = _patches(config.place, model.tower, question)
        pipeline.append({"phase": "vision", "images": images, "patches": patches, "precision": plain})
        visual_tokens = images * patches // model.tower.fields["merge"]
        notes.append(words)
    elif question.images is not None or question.image_sides is not None:
        raise SpecError(f"{config.place}  must be a model that sees where images are asked for, got {model.family}")
    if model.decoder is not None:
        pipeline.append({"phase": "prefill", "tokens": question.prompt + visual_tokens, "precision": chosen})
        text = f"{question.prompt} text tokens"
        notes.append(f"{visual_tokens} visual tokens and {text}" if visual_tokens else text)
        if question.decode:
            pipeline.append({"phase": "decode", "tokens": question.decode, "precision": chosen})
    return Frame(
        {
            "pipeline": pipeline,
            "pipeline_source": "assumption",
            "pipeline_status": "assumed",
            "pipeline_note": f"chosen at the import: {'; '.join(notes)}",
        },
        (*model.remarks, *remarks),
    )


def _precisions(model: Model, asked: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Precisions of the tower and of the language model, and remarks where the configuration does not say them."""
    plain, unsure = plain_precision(model.config)
    chosen, quantised = matrix_precision(model.config, plain)
    model.config.check()
    if asked is not None:
        differs = asked != chosen
        return asked, asked, ((f"precision: {asked} was asked for, the file has {chosen}",) if differs else ())
    if chosen != plain and model.tower is None:
        unsure = None  # nothing has the precision that it is about
    return plain, chosen, tuple(remark for remark in (unsure, quantised) if remark)


def _patches(place: str, tower: Tower, question: Question) -> tuple[int, int, str]:
    """Images of a frame, patches of one, and words for them."""
    sides = question.image_sides or tower.image_sides or SIDES
    if tower.image_sides not in {None, sides}:
        height, width = tower.image_sides or sides
        raise SpecError(f"{place}  image_size: must be that of the images, {sides[1]}x{sides[0]}, got {width}x{height}",
                        hint="more of them: --images N")  # fmt: skip
    patch = tower.patch_sides
    step = int(tower.fields["merge"] ** 0.5)
    rows, columns = sides[0] // patch[0] // step * step, sides[1] // patch[1] // step * step
    if not rows or not columns:
        raise SpecError(
            f"--image-size: must be at least {patch[1] * step}x{patch[0] * step}, got {sides[1]}x{sides[0]}"
        )
    images = question.images or 1
    many = f"{images} image{'s' if images > 1 else ''} of {sides[1]}x{sides[0]}"
    return images, rows * columns, f"{many}, {columns}x{rows} patches each"
