"""Router traces from files of numpy: an integer array [layers, tokens, top_k] of expert numbers."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from simulator.errors import SpecError
from simulator.routing.trace import RouterTrace


def read_trace(path: Path | str, *, layers: int, experts: int, top_k: int, tokens: int) -> RouterTrace:
    """The trace in a .npy file, or in a .npz file with a single array.

    Args:
        path: the file.
        layers: layers that the model has.
        experts: experts of a layer.
        top_k: experts that a token picks.
        tokens: tokens that the run needs.
    Raises:
        SpecError: when there is no such file, or its array is not a trace of this model.
    """
    picks = _read_array(Path(path))
    if picks.ndim != 3 or picks.dtype.kind not in "iu":
        expected = "an integer array of the shape (layers, tokens, top_k)"
        raise _wrong(path, expected, f"{picks.dtype} of the shape {picks.shape}")
    if picks.shape[0] != layers:
        raise _wrong(path, f"{layers} layers as the model", f"{picks.shape[0]}")
    if picks.shape[2] != top_k:
        raise _wrong(path, f"{top_k} experts per token as the model (top_k)", f"{picks.shape[2]}")
    if picks.shape[1] < tokens:
        raise _wrong(path, f"at least the {tokens} tokens of the run", f"{picks.shape[1]}")
    if picks.min() < 0 or picks.max() >= experts:
        raise _wrong(path, f"expert numbers from 0 to {experts - 1}", f"{picks.min()} to {picks.max()}")
    ordered = np.sort(picks, axis=2)
    repeated = np.argwhere((ordered[:, :, 1:] == ordered[:, :, :-1]).any(axis=2))
    if len(repeated):
        layer, token = repeated[0].tolist()
        found = f"{picks[layer, token].tolist()} (layer {layer}, token {token})"
        raise _wrong(path, "different experts for a token", found)
    return RouterTrace(picks.astype(np.int32), experts)


def _read_array(path: Path) -> npt.NDArray[Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if len(loaded.files) != 1:
                raise _wrong(path, "a single array", ", ".join(loaded.files) or "none")
            array: npt.NDArray[Any] = loaded[loaded.files[0]]
            return array
    except FileNotFoundError:
        raise SpecError(f"routing.file {path}: must be a file that exists") from None
    except OSError as error:
        raise SpecError(
            f"routing.file {path}: must be a file that can be read: {error.strerror or 'it is broken'}"
        ) from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise SpecError(f"routing.file {path}: must be a .npy or .npz file of numpy with an array of numbers") from None


def _wrong(path: Path | str, expected: str, found: str) -> SpecError:
    return SpecError(
        f"routing.file {path}: must have {expected}, got {found}",
        hint="a trace has the shape (layers, tokens, top_k) and belongs to one model",
    )
