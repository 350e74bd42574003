"""How recordings are cut into windows for frames, and which frame tells of which time."""

from unittest.mock import Mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.events.judge import Judge
from finetune.events.track_stream import TrackStream
from finetune.events.windows import Windows
from serve.frames import joined, windows_of


@settings(max_examples=300, deadline=None)
@given(clip_ms=st.integers(100, 30000), rate=st.integers(1000, 192000), own_rate=st.integers(1000, 48000))
def test_no_window_is_longer_than_the_model_s(clip_ms: int, rate: int, own_rate: int) -> None:
    clip_s = clip_ms / 1000
    windows = windows_of(60 * rate, rate, clip_s)
    # At the model's rate a model that tells frames takes one sample more than its window, see `ExportedModel.frames`.
    assert -(-windows.length * own_rate // rate) <= round(clip_s * own_rate) + 1
    assert clip_s * rate - 1 <= windows.length <= clip_s * rate + 1e-6
    assert TrackStream(Mock(spec=Judge), rate, Windows(clip_s, clip_s / 2)).window == windows.length


@settings(max_examples=200, deadline=None)
@given(samples=st.integers(1, 30000), rate=st.integers(100, 3000), clip_s=st.sampled_from([0.5, 1.0, 2.37]), frames=st.integers(1, 40))
def test_each_time_has_the_frame_of_the_window_in_whose_middle_it_lies_most(samples: int, rate: int, clip_s: float, frames: int) -> None:
    windows = windows_of(samples, rate, clip_s)
    frame_s = clip_s / frames
    # Each frame tells which it is.
    told = [1000.0 * number + np.arange(frames, dtype=np.float32)[:, np.newaxis] for number in range(len(windows.starts))]
    rows = joined(windows, told, frame_s)
    assert rows.begin_s[0] == 0 and np.array_equal(rows.begin_s[1:], rows.end_s[:-1]) and rows.end_s[-1] == samples / rate
    # No row is left of rounding.
    assert (rows.end_s - rows.begin_s).min() * rate >= 0.5 - 1e-6
    centres = windows.starts + windows.length / 2
    # In samples: the middle of each row, which is no border.
    for time, (code,), window in zip((rows.begin_s + rows.end_s) / 2 * rate, rows.probabilities, rows.window, strict=True):
        assert abs(centres[window] - time) <= np.abs(centres - time).min() + 0.51
        frame = (time - windows.starts[window]) / (frame_s * rate)
        assert code // 1000 == window and abs(code % 1000 - min(frames - 1, int(frame))) <= (min(frame % 1, 1 - frame % 1) < 0.51)
