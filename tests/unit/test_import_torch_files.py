"""What `roadline import torch` says before PyTorch is loaded: packages and files that are none. Needs no PyTorch."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.errors import MissingExtraError, SpecError
from simulator.importers import import_torch


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every package can be found, but PyTorch must not be loaded."""
    monkeypatch.setattr("simulator.importers.torch.find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.parametrize("package", ["torch", "onnxscript", "onnx"])
def test_without_a_package_its_extra_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.importers.torch.find_spec", lambda name: None if name == package else object())
    with pytest.raises(MissingExtraError, match=f"the package {package}, which is not installed") as caught:
        import_torch(tmp_path / "it.pt2")
    assert caught.value.hint == 'pip install "roadline[torch]"'


def test_the_command_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.importers.torch.find_spec", lambda _: None)
    assert main(["import", "torch", str(tmp_path / "it.pt2")]) == 2
    assert 'Hint: pip install "roadline[torch]"' in capsys.readouterr().err


def test_the_help_warns_of_files_from_strangers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "torch", "--help"]) == 0
    assert "Do not load files from strangers" in " ".join(capsys.readouterr().out.split())


@pytest.mark.usefixtures("all_installed")
def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"it\.pt2  cannot be read: No such file"):
        import_torch(tmp_path / "it.pt2")


@pytest.mark.usefixtures("all_installed")
@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04 and no end"], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "it.pt2"
    file.write_bytes(content)
    with pytest.raises(SpecError, match=r"must be a program saved by torch\.export\.save, .* none or is cut off"):
        import_torch(file)


@pytest.mark.usefixtures("all_installed")
def test_an_archive_without_a_program_is_refused_before_anything_is_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "it.pt2"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("it/data.pkl", b"what torch.save writes")
    with pytest.raises(SpecError, match="got an archive without one") as caught:
        import_torch(file)
    assert "torch.save and torch.jit.save hold no such program" in str(caught.value.hint)
