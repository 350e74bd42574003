"""The parts of an exported file that are traced: front end, encoder and head of the folds, with their parity checked."""

import copy
import io
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from common.errors import UserError
from finetune.classifier import Classifier
from finetune.frame_head import FramesToLabels

MAX_DIFFERENCE = 1e-5


class Listener(nn.Module):
    """Windows [W, T] at the model's rate to what the head takes: front end and encoder of a classifier.

    Like `Teller`, a part without its LightningModule, which cannot be traced outside a trainer.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.front_end = classifier.front_end
        self.encoder = classifier.encoder
        self.embedding = type(classifier.head).embedding

    def forward(self, windows: Tensor) -> Tensor:
        return self.embedding(self.encoder, self.front_end(windows))


class Teller(nn.Module):
    """What a `Listener` answers, and raw metadata [W, M] for a model that takes them, to probabilities [W, L]."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.metadata = classifier.metadata
        self.head = classifier.head
        self.task = classifier.task

    def forward(self, embedding: Tensor, metadata: Tensor | None = None) -> Tensor:
        if self.metadata is not None:
            embedding = self.metadata.fuse(embedding, metadata)
        return self.task.probabilities(self.head(embedding))


class Framer(nn.Module):
    """What a `Listener` answers to probabilities of events, frame by frame [W, N, E], for a classifier with a head over frames."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        assert isinstance(classifier.head, FramesToLabels), "a head over frames"
        self.head = classifier.head

    def forward(self, feature_map: Tensor) -> Tensor:
        return self.head.event_probabilities(feature_map)


class Network(nn.Module):
    """Windows [W, T] at the model's rate, and raw metadata [W, M] for a model that takes them, to probabilities [W, L]."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.listener, self.teller = Listener(classifier), Teller(classifier)

    def forward(self, windows: Tensor, metadata: Tensor | None = None) -> Tensor:
        return self.teller(self.listener(windows), metadata)


def listen_alike(classifiers: Sequence[Classifier]) -> bool:
    """Whether all have the same front end and encoder to the last bit, as folds have whose encoder was not trained."""
    first, *others = (Listener(classifier) for classifier in classifiers)
    state = first.state_dict()
    return bool(others) and all(
        other.encoder.describe() == first.encoder.describe()
        and other.front_end.describe() == first.front_end.describe()
        and other.embedding is first.embedding
        and all(torch.equal(value, state[name]) for name, value in other.state_dict().items())
        for other in others
    )


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
    traced = _traced(Network(classifier), _example(classifier, 3, window, torch.Generator().manual_seed(0)))
    _check(traced, _probabilities(classifier), classifier, window)
    return traced


def trace_apart(classifiers: Mapping[int, Classifier], window: int) -> tuple[torch.jit.ScriptModule, dict[int, torch.jit.ScriptModule]]:
    """As `trace`, of classifiers that `listen_alike`: the one `Listener` of all, and each one's `Teller`."""
    first = next(iter(classifiers.values()))
    windows, *known = _example(first, 3, window, torch.Generator().manual_seed(0))
    listener = _traced(Listener(first), (windows,))
    with torch.no_grad():
        embedding = Listener(first).eval()(windows)
    tellers = {fold: _traced(Teller(classifier), (embedding, *known)) for fold, classifier in classifiers.items()}
    for fold, classifier in classifiers.items():
        _check(lambda some, *more, teller=tellers[fold]: teller(listener(some), *more), _probabilities(classifier), classifier, window)
    return listener, tellers


def trace_framer(framer: nn.Module, listener: nn.Module | None, classifier: Classifier, window: int) -> torch.jit.ScriptModule:
    """As `trace`, of what makes the events of frames of what a traced ``listener`` answers, or of windows where there is none."""
    heard = nn.Identity() if listener is None else listener
    with torch.no_grad():
        example = heard(*_example(classifier, 3, window, torch.Generator().manual_seed(0)))
    traced, eager = _traced(framer, (example,)), nn.Sequential(Listener(classifier), Framer(classifier)).eval()
    _check(lambda windows: traced(heard(windows)), eager, classifier, window)
    return traced


def _traced(module: nn.Module, example: tuple[Tensor, ...]) -> torch.jit.ScriptModule:
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        # torch 2.11 says that TorchScript is deprecated; it is what a service with torch alone can load.
        warnings.simplefilter("ignore")
        # Of a copy: the classifier is what the file is checked against.
        arranged = copy.deepcopy(module).eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return _constant(torch.jit.trace(arranged, example, check_trace=False))


def _probabilities(classifier: Classifier) -> Callable[..., Tensor]:
    return lambda windows, *known: classifier.task.probabilities(classifier(windows, *known))


def _check(traced: Callable[..., Tensor], eager: Callable[..., Tensor], classifier: Classifier, window: int) -> None:
    generator, difference = torch.Generator().manual_seed(1), 0.0
    with torch.no_grad():
        for batch in (1, 2, 5):
            windows, *known = _example(classifier, batch, window, generator)
            windows[-1, window // 2 :] = 0.0
            difference = max(difference, float((traced(windows, *known) - eager(windows, *known)).abs().max()))
    check_parity(difference, "The traced network")


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
