"""The allocator's settings are taken where they exist, and their effect is there."""

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from common.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    torch.ones(2**23).sum()
# The heap first grows until a freed block fits.
for _ in range(10):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="needs the GNU C library")
def test_large_blocks_are_kept_for_the_next_step() -> None:
    def page_faults(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
        return int(done.stdout)

    # Five times 32 MiB are 40,960 pages of 4 KiB, which huge pages may make fewer, where they are mapped anew each time.
    assert page_faults("keep") * 4 < page_faults("default")
