"""``quality.onnx`` says of a recording at any rate what `common.audio.quality` says."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audio.quality import quality_flags
from finetune.export.quality_file import write_quality


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    folder = tmp_path_factory.mktemp("quality")
    return onnxruntime.InferenceSession(folder / write_quality(folder), providers=["CPUExecutionProvider"])


def made(kind: str, samples: int, generator: np.random.Generator) -> np.ndarray:
    noise = generator.normal(size=samples).cumsum()
    noise = (0.5 * noise / max(1e-6, np.abs(noise).max())).astype(np.float32)
    if kind in ("nan", "inf", "-inf"):
        noise[generator.integers(samples)] = np.float32(kind)
    return {
        "silence": np.zeros_like(noise),
        "constant": np.full_like(noise, 0.25),
        "clipped": noise.clip(-0.2, 0.2),
        "one side": noise.clip(-1, 0.2),
        "8 bit": (noise * 128).round() / 128,
        "huge": noise * np.float32(1e38),
    }.get(kind, noise)


KINDS = st.sampled_from(["noise", "silence", "constant", "clipped", "one side", "8 bit", "huge", "nan", "inf", "-inf"])


@settings(max_examples=150, deadline=None)
@given(
    kinds=st.lists(KINDS, min_size=1, max_size=4),
    samples=st.sampled_from([1, 2, 3, 500, 4409, 4410, 9000]),
    rate=st.sampled_from([4000, 11025, 44100, 48000]),
    seed=st.integers(0, 1000),
)
def test_it_says_what_the_function_says(judge: onnxruntime.InferenceSession, kinds: list[str], samples: int, rate: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    waveform = np.stack([made(kind, samples, generator) for kind in kinds])
    lengths = generator.integers(-1, samples + 2, len(kinds))
    # At least one is whole, as in a batch.
    lengths[0] = samples
    (flags,) = judge.run(["flags"], {"waveform": waveform, "lengths": lengths, "sample_rate": np.array([rate])})
    assert flags.tolist() == quality_flags(torch.from_numpy(waveform), torch.from_numpy(lengths), rate).tolist()


@pytest.mark.parametrize("shape", [(0, 5), (2, 0), (0, 0)])
def test_nothing_at_all_is_judged_too(judge: onnxruntime.InferenceSession, shape: tuple[int, int]) -> None:
    waveform, lengths = np.zeros(shape, np.float32), np.full(shape[0], shape[1])
    (flags,) = judge.run(["flags"], {"waveform": waveform, "lengths": lengths, "sample_rate": np.array([4000])})
    assert flags.tolist() == quality_flags(torch.from_numpy(waveform), torch.from_numpy(lengths), 4000).tolist()
