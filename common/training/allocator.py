"""Keep freed memory in the process: training asks for the same large blocks again at every step."""

import ctypes
import sys

# malloc.h of the GNU C library.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell the C library's allocator not to give large freed blocks back to the system; returns whether it has taken it.

    By default every tensor above some MB is mapped anew and its pages are cleared by the kernel, in training on a CPU up to a
    third of all time. Same as starting with ``MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=-1``, which nobody remembers. The price is
    that the process keeps its highest use of memory until it ends. Nothing happens without the GNU C library (macOS, musl).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
