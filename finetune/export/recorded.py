"""A module's graph as ``torch.export`` records it, and the ONNX file of such a graph."""

import operator
import warnings
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from finetune.export.node_names import name_by_module


def record(module: nn.Module, example: Mapping[str, Tensor], sizes: Mapping[str, dict[int, Any]]) -> torch.export.ExportedProgram:
    """The graph of ``module`` for inputs of any size.

    Args:
        module: in evaluation mode, without a branch on values but those of `torch.cond`.
        example: name of each input -> what it is traced with.
        sizes: name of each input -> dimension -> its `torch.export.Dim`; a dimension that is not named stays as in the example.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, tuple(example.values()), dynamic_shapes=dict(sizes), strict=False)
    for part in program.graph_module.modules():
        if isinstance(part, torch.fx.GraphModule):
            _plain_sums(part)
            for node in part.graph.nodes:
                # Where on this machine the code lies is nobody's business.
                node.meta.pop("stack_trace", None)
    return program


def save_onnx(path: Path, program: torch.export.ExportedProgram, outputs: list[str], properties: Mapping[str, str]) -> int:
    """Write a recorded graph as an ONNX file; returns its opset.

    Args:
        path: of the file.
        program: see `record`; its inputs keep their names.
        outputs: their names.
        properties: kept in the file.
    """
    import onnx_ir.passes.common as passes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(program, dynamo=True, output_names=outputs, verbose=False)
    assert written is not None
    # By the metadata that go.
    name_by_module(written.model)
    passes.ClearMetadataAndDocStringPass()(written.model)
    written.model.metadata_props.update(properties)
    written.save(str(path))
    return written.model.opset_imports[""]


def _added(part: torch.fx.GraphModule, left: Any, right: Any) -> torch.fx.Node:
    """The sum of two sizes, each a node or a number."""
    total = part.graph.call_function(operator.add, (left, right))
    total.meta["val"] = operator.add(*(term.meta["val"] if isinstance(term, torch.fx.Node) else term for term in (left, right)))
    return total


def _plain_sums(part: torch.fx.GraphModule) -> None:
    """Write sums of sizes as additions: torch 2.11 makes the former within a `torch.cond`, and cannot save them."""
    for node in list(part.graph.nodes):
        if node.target is torch.sym_sum:
            with part.graph.inserting_before(node):
                total = reduce(lambda left, right: _added(part, left, right), node.args[0])
            node.replace_all_uses_with(total)
            part.graph.erase_node(node)
    part.recompile()
