"""An ONNX file whose encoders compute in half precision, in half the bytes."""

from pathlib import Path

import onnx_ir as ir

from finetune.export.node_names import encoder_of


def halve(source: Path, target: Path) -> None:
    """Write ``target``, ``source`` with weights and arithmetic of its encoders in float16.

    Front end, head and all that is outside of the networks stay in float32: a power spectrum has a wider range than float16, and the
    logarithm of small powers more digits.

    Args:
        source: ONNX file whose nodes `finetune.export.node_names` named.
        target: to write.
    """
    model = ir.load(source)
    graph = model.graph
    nodes = [node for node in graph if encoder_of(node.name or "")]
    inside = {output for node in nodes for output in node.outputs if output.dtype == ir.DataType.FLOAT}
    halves: dict[ir.Value, ir.Value] = {}
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype == ir.DataType.FLOAT and value not in inside:
                if value not in halves:
                    halves[value] = _half_of(graph, node, value)
                node.replace_input_with(index, halves[value])
        to = node.attributes.get("to")
        if node.op_type == "Cast" and to is not None and to.as_int() == ir.DataType.FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", ir.DataType.FLOAT16)
    for value in inside:
        outside = [(node, index) for node, index in value.uses() if not encoder_of(node.name or "")]
        value.dtype = ir.DataType.FLOAT16
        producer = value.producer()
        if outside and producer is not None:
            back = _cast(value, ir.DataType.FLOAT)
            graph.insert_after(producer, back)
            for node, index in outside:
                node.replace_input_with(index, back.outputs[0])
    for value in [value for value in graph.initializers.values() if not value.uses()]:
        del graph.initializers[value.name or ""]
    ir.save(model, target)


def _half_of(graph: ir.Graph, first: ir.Node, value: ir.Value) -> ir.Value:
    """``value`` in float16, for ``first`` and the nodes after it: another weight, or the output of a cast before it."""
    if value.const_value is not None:
        number = value.const_value.numpy().astype("float16")
        name = f"{value.name}_float16"
        half = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT16), shape=value.shape, const_value=ir.tensor(number, name=name))
        graph.register_initializer(half)
        return half
    cast = _cast(value, ir.DataType.FLOAT16)
    graph.insert_before(first, cast)
    return cast.outputs[0]


def _cast(value: ir.Value, to: ir.DataType) -> ir.Node:
    cast = ir.node("Cast", [value], {"to": to}, name=f"/cast_{value.name}_{to.name}")
    cast.outputs[0].name = f"{value.name}_{to.name}"
    cast.outputs[0].dtype = to
    cast.outputs[0].shape = value.shape
    return cast
