"""``python -m serve``: the service."""

import os
import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        SystemExit: 0 after ``--help`` and after a stop that was asked for, 1 when the bundle cannot be served or the address not be taken,
            2 when a setting is wrong.
    """
    from serve.settings import parse

    # Before numpy is loaded. More threads of its BLAS, which resamples for ONNX Runtime, go on waiting without sleep when they are done,
    # and take the processor from the model.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settings = parse(sys.argv[1:] if args is None else args)
    # Late: a wrong setting should not wait for the network's libraries.
    from serve.errors import StartError
    from serve.run import run

    try:
        run(settings)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
