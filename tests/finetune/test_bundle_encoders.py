"""Which front ends and encoders ``torch.export`` and ONNX can hold: the network alone, without the windows and flags around it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from common.encoders import Cnn1d, Cnn2d, Crnn, Encoder
from common.frontends import Cqt, FrontEnd, Gammatone, KaldiLogMel, LogMel, Mfcc, Stacked
from finetune.classifier import Classifier
from finetune.export.networks import Network
from finetune.tasks.multilabel import MultiLabel

CLIP_S = 0.8


def noise(rows: int, samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(rows))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("front_end", "make"),
    [
        (KaldiLogMel(num_mels=64), lambda: Cnn2d((4, 8))),
        (Mfcc(num_coefficients=13), lambda: Cnn1d(num_bins=13, channels=(4, 8))),
        (Stacked([Gammatone(), LogMel(num_mels=16)]), lambda: Cnn2d((4, 8))),
        (Cqt(), lambda: Crnn((4, 8), hidden=8)),
    ],
    ids=["kaldi_cnn2d", "mfcc_cnn1d", "stacked_gammatone", "cqt_crnn"],
)
def test_networks_of_each_kind_have_both_twins(front_end: FrontEnd, make: Callable[[], Encoder], tmp_path: Path) -> None:
    # Before the network is made, so that its weights do not depend on what other tests drew.
    torch.manual_seed(0)
    classifier, window = Classifier(MultiLabel(), front_end, make(), clip_s=CLIP_S).eval(), round(CLIP_S * front_end.sample_rate)
    # Statistics of batch norm as after training: with those of a new network next to nothing reaches the output.
    classifier.encoder.train()(front_end(noise(8, window)))
    network = Network(classifier.eval()).eval()
    windows = noise(5, window)
    windows[-1, window // 2 :] = 0.0
    with torch.no_grad():
        expected = network(windows).numpy()
        program = torch.export.export(network, (noise(3, window),), dynamic_shapes=({0: torch.export.Dim("W")},), strict=False)
        recorded = program.module()(windows).numpy()
    written = torch.onnx.export(program, dynamo=True, verbose=False)
    assert written is not None
    written.save(str(tmp_path / "network.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    answered = session.run(None, {session.get_inputs()[0].name: windows.numpy()})[0]
    assert np.abs(recorded - expected).max() <= 1e-5 and np.abs(answered - expected).max() <= 1e-5
    assert np.ptp(expected, axis=0).max() > 1e-3
