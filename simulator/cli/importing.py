"""`roadline import`: models that others publish, as workload files."""

# ruff: noqa: PLC0415 - a command imports its own work, so that --help stays quick

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator.cli.options import FILE, json_option, page_columns, print_json
from simulator.errors import OutputError, SpecError

if TYPE_CHECKING:
    from simulator.importers import Imported, ImportedNetwork


@click.group("import")
def import_group() -> None:
    """Turn a model that others publish into a workload."""


@import_group.command("hf", short_help="From the configuration of a Hugging Face model.")
@click.argument("path", metavar="DIR|config.json", type=FILE)
@click.option("--name", metavar="NAME", help="Name of the workload; without it that of the file or the folder.")
@click.option("--out", "out_path", metavar="FILE", type=FILE, help="Write the workload here instead of to stdout.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--prompt", metavar="N", type=click.IntRange(min=1), default=512, show_default=True,
              help="Text tokens of the prompt; those of images come on top.")  # fmt: skip
@click.option("--decode", metavar="N", type=click.IntRange(min=0), default=128, show_default=True,
              help="Decoded tokens; 0 for none.")  # fmt: skip
@click.option("--images", metavar="N", type=click.IntRange(min=1),
              help="Images of a frame, for a model that sees; without it one.")  # fmt: skip
@click.option("--image-size", metavar="WxH", help="Pixels of an image, such as 576x320, for a tower that takes any.")
@click.option("--precision", metavar="P", help="Precision of all phases; without it that of the configuration.")
@click.option("--strict", is_flag=True, help="Refuse keys that nobody knows, instead of listing them.")
@json_option
def hf_command(
    *,
    path: Path,
    name: str | None,
    out_path: Path | None,
    force: bool,
    image_size: str | None,
    strict: bool,
    as_json: bool,
    **question: Any,
) -> None:
    """Read the configuration of a Hugging Face model, and its weights' headers if they are there.

    Weights themselves are not read; - is stdin. Keys that nobody knows are listed: they may have a cost that the
    workload lacks.

    \b
    roadline import hf ~/models/Qwen3-4B --out my/qwen3-4b.yaml
    roadline run --chip thor-t5000 --workload my/qwen3-4b.yaml
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with a backspace
    if force and out_path is None:
        raise click.UsageError("--force needs --out FILE")
    from simulator.importers import Question, import_hf
    from simulator.report.outputs import check_files

    check_files((out_path, (".yaml", ".yml"), "a workload"))
    _check_out(out_path, name, force=force)
    name = name or (out_path.stem if out_path else None)
    imported = import_hf(
        Path("/dev/stdin") if path == Path("-") else path,
        Question(**question, image_sides=_sides(image_size)),
        name=name,
    )
    if strict and imported.unknown:
        raise SpecError(f"{imported.origin}  must have known keys only, got {', '.join(imported.unknown)}",
                        hint="without --strict they are listed and left out")  # fmt: skip
    _print(imported, out_path, as_json=as_json)


@import_group.command("onnx")
@click.argument("path", metavar="FILE", type=FILE)
@click.option("--name", metavar="NAME", help="Name of the workload; without it that of the file.")
@click.option("--out", "out_path", metavar="FILE", type=FILE, help="Write the workload here instead of to stdout.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--shape", "shape_texts", metavar="INPUT=N,N,...", multiple=True,
              help="Sizes of an input, such as image=1,3,224,224; they bind dimensions of the same name.")  # fmt: skip
@click.option("--precision", metavar="P", help="Precision of the network; without it that of the stored weights.")
@click.option("--skip-unknown", is_flag=True, help="Count unknown nodes as copies of their results, and list them.")
@json_option
def onnx_command(
    *,
    path: Path,
    name: str | None,
    out_path: Path | None,
    force: bool,
    shape_texts: tuple[str, ...],
    precision: str | None,
    skip_unknown: bool,
    as_json: bool,
) -> None:
    """Read an ONNX model as a network of operators. Weights are not read, and may be missing.

    Norms, rotary embeddings, attention and gates that an exporter wrote as many nodes are recognised; what was and
    what was not is listed. It needs the package onnx (pip install "roadline[onnx]").

    \b
    roadline import onnx resnet50.onnx --shape image=1,3,224,224 --out my/resnet50.yaml
    roadline run --chip orin-agx-64gb --workload my/resnet50.yaml
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with a backspace
    if force and out_path is None:
        raise click.UsageError("--force needs --out FILE")
    shapes = dict(map(_shape, shape_texts))
    from simulator.importers import import_onnx
    from simulator.report.outputs import check_files

    check_files((out_path, (".yaml", ".yml"), "a workload"))
    _check_out(out_path, name, force=force)
    name = name or (out_path.stem if out_path else None)
    imported = import_onnx(path, shapes, name=name, precision=precision, skip_unknown=skip_unknown)
    _print(imported, out_path, as_json=as_json)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Name and sizes of `INPUT=1,3,224,224`."""
    name, _, sizes = text.rpartition("=")
    words = sizes.split(",")
    if not name or not all(word.strip().isdecimal() and 0 < len(word) < 20 and int(word) for word in words):
        raise click.BadParameter(f"must be INPUT=N,N,... with sizes of 1 or more, got {text}", param_hint="--shape")
    return name, tuple(map(int, words))


def _sides(text: str | None) -> tuple[int, int] | None:
    """Height and width of `WIDTHxHEIGHT`."""
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not all(side.isdecimal() and len(side) < 6 and int(side) for side in (width, height)):
        raise click.BadParameter(f"must be WIDTHxHEIGHT, such as 576x320, got {text}", param_hint="--image-size")
    return int(height), int(width)


def _check_out(path: Path | None, name: str | None, *, force: bool) -> None:
    """Refuses a file that would be lost, or that would not be found under its name."""
    if path is None:
        return
    if path.exists() and not force:
        raise OutputError(f"{path}: must be a new file, is there already", hint="--force replaces it")
    if name is not None and name != path.stem:
        raise SpecError(f'--name: must be the name of the file, "{path.stem}", got "{name}"')


def _print(imported: Imported | ImportedNetwork, out_path: Path | None, *, as_json: bool) -> None:
    """The workload goes to its file or to stdout; what is said about it goes where the workload does not."""
    from simulator.importers import Imported
    from simulator.report.import_sheet import import_sheet
    from simulator.report.network_import_sheet import network_import_sheet
    from simulator.report.workload_file import workload_text, write_workload

    def sheet() -> str:
        if isinstance(imported, Imported):
            return import_sheet(imported, page_columns())
        return network_import_sheet(imported, page_columns())

    remarks = imported.provenance
    if out_path is not None:
        write_workload(imported.workload, out_path, remarks=remarks)
    if as_json:
        print_json(imported.to_dict())
    elif out_path is None:
        click.echo(workload_text(imported.workload, remarks=remarks), nl=False)
        click.echo(sheet(), err=True)
    else:
        click.echo(sheet())
    if out_path is not None:
        click.echo(f"wrote {out_path}", err=True)
