"""An ONNX file whose encoders compute in 8 bits: static quantisation, with the ranges that activations have on training clips."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx

from common.errors import UserError
from finetune.export.node_names import encoder_of

Inputs = dict[str, np.ndarray]

# What convolutional encoders are made of. Front end, head and all that is outside of the networks stay in float32, and so does what an
# encoder computes by other operators, attention among them.
OPERATORS = ["Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"]


def quantise(source: Path, target: Path, clips: Iterable[Inputs]) -> None:
    """Write ``target``, ``source`` with its encoders in 8 bits.

    Weights have a scale per output channel and 7 bits, activations 8 and one range: their smallest and largest value over ``clips``. With
    the eighth bit of a weight, processors without VNNI make sums that saturate: the file would answer otherwise there than where its
    loss was measured. An encoder's first convolution stays in float32: it is short, and most of what 7 bits change came from it.

    Args:
        source: ONNX file whose nodes `finetune.export.node_names` named.
        target: to write.
        clips: inputs of the file, one clip at a time.

    Raises:
        UserError: no encoder has anything that could be quantised.

    Reference:
        Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018, section 2.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    nodes = _reducible(onnx.load(source).graph)
    # An empty list would be taken for all nodes.
    if not nodes:
        raise UserError("its encoders have no operator that could be quantised behind a first convolution")
    root, level = logging.getLogger(), logging.getLogger().level
    # It asks by the root logger for a preparation that the exporter has done: batch norms are in their convolutions.
    root.setLevel(logging.ERROR)
    try:
        quantize_static(
            source,
            target,
            _Reader(clips),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_quantize=nodes,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        root.setLevel(level)


def _reducible(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that are quantised: those of every encoder behind its first convolution."""
    begun: set[str] = set()
    names = []
    for node in graph.node:
        encoder = encoder_of(node.name)
        if encoder is None or node.op_type not in OPERATORS:
            continue
        if encoder in begun:
            names.append(node.name)
        elif node.op_type == "Conv":
            begun.add(encoder)
    return names


class _Reader:
    """Clips as the calibration asks for them: one at each call, None at the end."""

    def __init__(self, clips: Iterable[Inputs]) -> None:
        self._clips: Iterator[Inputs] = iter(clips)

    def get_next(self) -> Inputs | None:
        return next(self._clips, None)
