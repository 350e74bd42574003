"""Names of an ONNX graph's nodes that say which part of the model they are of."""

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

# Of the modules that a node was recorded in, from the whole model to the operation; torch writes it, as a list in text.
SCOPES = "pkg.torch.onnx.name_scopes"


def name_by_module(model: "ir.Model") -> None:
    """Put the path of its module before the name of every node: ``model.networks.0.encoder.conv1/node_Conv_7``."""
    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
        # The last is the operation itself, the first the whole model.
        module = scopes[-2] if len(scopes) > 1 else ""
        node.name = f"{module}/{node.name}"


def encoder_of(name: str) -> str | None:
    """The path of the encoder that a node is of, ``model.networks.0.encoder``, by the name that `name_by_module` gave it; None outside."""
    before, found, _ = f".{name.partition('/')[0]}.".partition(".encoder.")
    return f"{before}.encoder".lstrip(".") if found else None
