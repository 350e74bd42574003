"""Run the service and the page in one container; the first that ends takes the other along.

From the environment: AUSCULT_MODEL (bundle/), AUSCULT_BACKEND (onnx), PAGE_PORT (7860), and every other setting of the service.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from types import FrameType
from urllib.error import URLError

SERVICE = "http://127.0.0.1:8000"
START_S = 120


def main() -> None:
    # Nobody but the page asks the service, which listens inside of the container only.
    own = {"AUSCULT_HOST": "127.0.0.1", "AUSCULT_PORT": "8000", "AUSCULT_TOKEN": secrets.token_urlsafe()}
    environment = {"AUSCULT_MODEL": "bundle", "AUSCULT_BACKEND": "onnx", **os.environ, **own}
    signal.signal(signal.SIGTERM, stop)
    processes = [subprocess.Popen([sys.executable, "-m", "serve"], env=environment)]
    try:
        wait_for(processes[0])
        page = ["--service", SERVICE, "--host", "0.0.0.0", "--port", os.environ.get("PAGE_PORT", "7860")]
        processes.append(subprocess.Popen([sys.executable, "-m", "serve.page", *page], env=environment))
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait() for process in processes]
    sys.exit(max(map(abs, codes)))


def wait_for(service: subprocess.Popen[bytes]) -> None:
    """Until the service can answer recordings, or has ended."""
    end = time.monotonic() + START_S
    while service.poll() is None:
        try:
            urllib.request.urlopen(f"{SERVICE}/readyz", timeout=5).close()
            return
        except (URLError, TimeoutError):
            if time.monotonic() > end:
                sys.exit(f"error: the service is not ready after {START_S} s; its log is above.")
            time.sleep(0.2)
    sys.exit("error: the service ended; its log is above.")


def stop(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
