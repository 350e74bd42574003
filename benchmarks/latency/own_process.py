"""What only a fresh process can tell: the time from its start to its end, its processor time, and the most memory that it ever held."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import UserError

# As a service would begin: the imports that it needs and no others. arguments: file of the model, recording at the model's rate.
TORCHSCRIPT = """
import sys
import soundfile, torch
torch.set_num_threads(int(sys.argv[3]))
model = torch.jit.load(sys.argv[1])
waveform, rate = soundfile.read(sys.argv[2], dtype="float32")
with torch.inference_mode():
    answer = model(torch.from_numpy(waveform)[None], rate)[0]
"""
ONNX = """
import sys
import numpy, onnxruntime, soundfile
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
options.add_session_config_entry("session.force_spinning_stop", "1")
model = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
waveform, rate = soundfile.read(sys.argv[2], dtype="float32")
answer = model.run(["probabilities"], {"waveform": waveform[None], "lengths": numpy.array([len(waveform)])})[0]
"""
# A recording of any length, read in blocks. arguments: file of the model, recording, threads, folder to write.
EVENTS = """
import sys
import torch
torch.set_num_threads(int(sys.argv[3]))
from finetune.__main__ import main
main(["events", "--model", sys.argv[1], "--input", sys.argv[2], "--out", sys.argv[4], "--hop_s", "8"])
"""
# A command of ours. arguments: package, the command's words.
COMMAND = """
import importlib, sys
importlib.import_module(sys.argv[1] + ".__main__").main(sys.argv[2:])
"""
# Not getrusage, whose peak a process takes over from the one that started it. In kB, Linux only.
SAY = """
import time
peak_kb = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print('{"peak_mb": %.1f, "processor_s": %.2f}' % (1.024e-3 * peak_kb, time.process_time()))
"""


class Ended(NamedTuple):
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        processor_s: of all its threads; what other processes took of the cores is not in it.
        peak_mb: the most memory that it held, imports included.
    """

    seconds: float
    processor_s: float
    peak_mb: float


def cold_start(script: str, model: Path, recording: Path, threads: int, repeats: int) -> dict[str, Any]:
    """Median seconds from starting a Python process to its answer for one recording, and its peak memory, MB.

    Args:
        script: `TORCHSCRIPT` or `ONNX`.
        model: file that it loads.
        recording: mono WAV at the model's rate.
        threads: of the runtime.
        repeats: processes; files are in the system's cache after the first, which counts too.
    """
    ends = [ended(script, model, recording, threads) for _ in range(repeats)]
    taken = [end.seconds for end in ends]
    return {"seconds": round(statistics.median(taken), 2), "slowest_s": round(max(taken), 2), "peak_mb": ends[-1].peak_mb}


def peak_mb(script: str, model: Path, recording: Path, threads: int, out: Path | None = None) -> float:
    """Most memory that a process held, imports included, while it answered one recording.

    Args:
        script: `TORCHSCRIPT`, `ONNX` or `EVENTS`.
        model: file that it loads.
        recording: mono WAV.
        threads: of the runtime.
        out: folder that `EVENTS` writes.
    """
    return ended(script, model, recording, threads, *([] if out is None else [out])).peak_mb


def ended(script: str, *arguments: object) -> Ended:
    """Run ``script`` in a Python process of its own to its end.

    Args:
        script: `TORCHSCRIPT`, `ONNX`, `EVENTS` or `COMMAND`.
        arguments: that it takes.

    Raises:
        UserError: it failed.
    """
    begun = time.perf_counter()
    command = [sys.executable, "-c", script + SAY, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"})
    taken = time.perf_counter() - begun
    if process.returncode:
        raise UserError(f"{arguments[0]} did not answer in a process of its own: {process.stderr.strip().splitlines()[-1]}")
    return Ended(taken, **json.loads(process.stdout.splitlines()[-1]))
