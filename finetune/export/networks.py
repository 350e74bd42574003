"""The part of an exported file that is traced: one fold's front end, encoder and head, with its parity checked."""

import copy
import io
import warnings

import torch
from torch import Tensor, nn

from common.errors import UserError
from finetune.classifier import Classifier

MAX_DIFFERENCE = 1e-5


class Network(nn.Module):
    """Windows [W, T] at the model's rate, and raw metadata [W, M] for a model that takes them, to probabilities [W, L].

    The parts without their LightningModule, which cannot be traced outside a trainer.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.front_end = classifier.front_end
        self.encoder = classifier.encoder
        self.metadata = classifier.metadata
        self.head = classifier.head
        self.task = classifier.task

    def forward(self, windows: Tensor, metadata: Tensor | None = None) -> Tensor:
        embedding = self.head.embedding(self.encoder, self.front_end(windows))
        if self.metadata is not None:
            embedding = self.metadata.fuse(embedding, metadata)
        return self.task.probabilities(self.head(embedding))


def trace(classifier: Classifier, window: int) -> torch.jit.ScriptModule:
    """Trace a classifier and check the result against it on batches that the tracer did not see.

    Its weights become constants, batch norms are folded into their convolutions, and these compute with channels last, which CPUs do
    faster. A file of it moves to another device on loading only, by ``map_location``.

    Args:
        classifier: in evaluation mode, on the CPU.
        window: samples of a window.

    Raises:
        UserError: the difference is beyond 1e-5, so that the file would not answer as the model does.
    """
    network = Network(classifier).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        # torch 2.11 says that TorchScript is deprecated; it is what a service with torch alone can load.
        warnings.simplefilter("ignore")
        # Of a copy: the classifier is what the file is checked against.
        arranged = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        traced = _constant(torch.jit.trace(arranged, _example(classifier, 3, window, generator), check_trace=False))
        difference = 0.0
        for batch in (1, 2, 5):
            windows, *known = _example(classifier, batch, window, generator)
            windows[-1, window // 2 :] = 0.0
            expected = classifier.task.probabilities(classifier(windows, *known))
            difference = max(difference, float((traced(windows, *known) - expected).abs().max()))
    check_parity(difference, "The traced network")
    return traced


def _constant(traced: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """The network with its weights as constants, as part of a module that is yet to be scripted: what `freeze` returns cannot be one."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(traced), file)
    file.seek(0)
    return torch.jit.load(file)


def check_parity(difference: float, what: str) -> None:
    """Refuse a file that answers otherwise than the model.

    Raises:
        UserError: ``difference`` of a probability is beyond 1e-5.
    """
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"{what} differs from the model by {difference:.2e} in a probability, more than {MAX_DIFFERENCE:.0e}: "
            "it is not written; its front end or encoder does something that tracing cannot record."
        )


def _example(classifier: Classifier, batch: int, window: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Windows of noise [batch, window], and raw metadata [batch, M] where the classifier takes them."""
    windows = 0.1 * torch.randn(batch, window, generator=generator)
    return (windows,) if classifier.metadata is None else (windows, classifier.metadata.example(batch, generator))
