"""``python -m serve.page``: the page."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from serve.errors import StartError
from serve.page.options import DEFAULT, SERVICES, TOKEN, parse_services

PROGRAM = "python -m serve.page"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Show recordings, and what services say of them, in a browser. Research software: not a diagnosis. "
        f"Where the services ask for a token, give it as {TOKEN} in the environment.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--service",
        default=os.environ.get(SERVICES) or DEFAULT,
        help=f"URL of a service, or several as name=URL,name=URL, of which flexible mode picks ({SERVICES})",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 is every network")
    parser.add_argument("--port", type=int, default=8501, help="port of the page")
    parser.add_argument("--base_path", "--base-path", default="", help="path under which a reverse proxy shows the page")
    parser.add_argument(
        "--max_upload_mb", "--max-upload-mb", type=int, default=64, help="largest file that is taken, MB; the service has limits of its own"
    )
    return parser


def streamlit_options(given: argparse.Namespace) -> list[str]:
    """Streamlit's own options: nothing goes out of the house, and a visitor sees no traceback."""
    options = {
        # Streamlit guesses it from where it is installed.
        "global.developmentMode": "false",
        "server.address": given.host,
        "server.port": given.port,
        "server.baseUrlPath": given.base_path,
        "server.maxUploadSize": given.max_upload_mb,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": "false",
        "client.toolbarMode": "minimal",
        "theme.base": "light",
        "theme.primaryColor": "#0b5c94",
    }
    return [f"--{name}={value}" for name, value in options.items()]


def main(args: Sequence[str] | None = None) -> None:
    """Show the page until SIGTERM or SIGINT.

    Raises:
        SystemExit: 0 after ``--help``, 2 with one sentence when an option is wrong.
    """
    given = parser().parse_args(args)
    try:
        parse_services(given.service)
    except StartError as error:
        print(f"error: {PROGRAM}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    os.environ[SERVICES] = given.service
    # Late: a wrong option should not wait for Streamlit.
    from streamlit import net_util
    from streamlit.web.cli import main as streamlit

    # It would ask a host of Amazon's under which address the world sees this machine.
    net_util.get_external_ip = lambda: None
    streamlit(["run", str(Path(__file__).with_name("app.py")), *streamlit_options(given)], prog_name=PROGRAM)


if __name__ == "__main__":
    main()
