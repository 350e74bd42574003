"""One fold's network, cut out of ``model.onnx``: what its graph would be if it were recorded alone, in the time of a copy."""

import shutil
from pathlib import Path

import onnx_ir as ir
import onnx_ir.passes.common as passes

from common.errors import UserError

# From the average over the networks back to where their answers are joined.
BETWEEN = ("Div", "ReduceSum")


def cut_network(source: Path, target: Path, number: int, networks: int) -> None:
    """Write ``target``, ``source`` with the answers of one of its networks in place of the average over all.

    Args:
        source: ``model.onnx`` of a run, not of an ensemble, which joins its members' answers before it averages folds.
        target: to write.
        number: of the network, from 0.
        networks: how many ``source`` averages.

    Raises:
        UserError: the graph does not end in an average over so many networks.
    """
    if networks == 1:
        shutil.copyfile(source, target)
        return
    model = ir.load(source)
    average = model.graph.outputs[0]
    alone = _joined(average, networks)[number]
    alone.shape, alone.type = average.shape, average.type
    model.graph.outputs[0] = alone
    passes.RemoveUnusedNodesPass()(model)
    alone.name, average.name = average.name, None
    ir.save(model, target)


def _joined(average: ir.Value, networks: int) -> list[ir.Value]:
    """The answers [B, L] of the networks that ``average`` is the average of."""
    value: ir.Value | None = average
    for operator in (*BETWEEN, "Concat"):
        node = None if value is None else value.producer()
        if node is None or node.op_type != operator:
            raise UserError(f"its graph does not end in an average over {networks} networks")
        value = node.inputs[0]
    assert node is not None
    answers = [each.producer() for each in node.inputs if each is not None]
    found = [each.inputs[0] for each in answers if each is not None and each.op_type == "Unsqueeze"]
    if len(found) != networks or None in found:
        raise UserError(f"its graph does not end in an average over {networks} networks")
    return [each for each in found if each is not None]
