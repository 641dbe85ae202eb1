"""Operators of networks: convolutions and resampling of maps, and products of two activations."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.graph.named import Named
from simulator.variants import Size


@dataclass(frozen=True)
class Convolution(Named):
    """Products of windows of a map with the matrices of `groups` groups of channels."""

    rows: int
    """Positions that it makes, of all images; of a transposed one, positions that it reads."""
    inputs: int
    """Channels of a group times positions of a window; of a transposed one, channels of a group."""
    outputs: int
    """Channels that a group makes; of a transposed one, times positions of a window."""
    groups: int
    read_elements: int
    """Elements of the map that is read, each once however many windows it is in."""
    written_elements: int
    """Elements of the map that is made."""
    biases: int = 0
    """Numbers that are added, one per channel made, if any."""
    shares_weights: bool = False
    """Whether weights and biases belong to another operator: then it has no parameters of its own."""

    @property
    def flop(self) -> int:
        """2 · rows · inputs · outputs per group."""
        return 2 * self.rows * self.inputs * self.outputs * self.groups

    @property
    def parameters(self) -> int:
        """Inputs · outputs per group, and the biases."""
        return 0 if self.shares_weights else self.groups * self.outputs * self.inputs + self.biases

    @property
    def input_elements(self) -> int:
        """The map that is read."""
        return self.read_elements

    @property
    def output_elements(self) -> int:
        """The map that is made."""
        return self.written_elements


@dataclass(frozen=True)
class Product(Named):
    """`batch` products of two activations: [rows, inputs] times [inputs, outputs]."""

    batch: Size
    rows: Size
    inputs: Size
    outputs: Size

    @property
    def flop(self) -> Size:
        """2 · rows · inputs · outputs for each."""
        return 2 * self.batch * self.rows * self.inputs * self.outputs

    @property
    def input_elements(self) -> Size:
        """Both."""
        return self.batch * self.inputs * (self.rows + self.outputs)

    @property
    def output_elements(self) -> Size:
        """Batch · rows · outputs."""
        return self.batch * self.rows * self.outputs


@dataclass(frozen=True)
class Resample(Named):
    """Every result is made of `taps` elements of a map: pooling, interpolation, deformable sampling."""

    rows: int
    width: int
    taps: int
    """Elements that are read, multiplied and added for one result, however often each is used."""
    read_elements: int
    """Elements of what is sampled, and of the places and weights that say how."""

    @property
    def input_elements(self) -> int:
        """What is sampled, and how."""
        return self.read_elements

    @property
    def output_elements(self) -> int:
        """Rows · width."""
        return self.rows * self.width
