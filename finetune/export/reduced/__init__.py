"""Twins of ``model.onnx`` in fewer bits, each with what it loses in AUROC on clips that its networks were not trained on."""
