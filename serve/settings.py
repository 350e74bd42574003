"""Every setting of the service: an option of the command line, or AUSCULT_NAME in the environment."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "AUSCULT_"
MEBIBYTE = 2**20


class Settings(BaseSettings):
    """Answer recordings over HTTP with the model of one bundle.

    Each option can also be given as the variable AUSCULT_<OPTION> of the environment; the command line wins.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_prog_name="python -m serve",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_enforce_required=False,
    )

    model: Path = Field(description="folder of the bundle that 'python -m finetune export' wrote; read again on SIGHUP")
    backend: Literal["torch", "onnx", "onnx-int8", "onnx-float16"] = Field(
        "torch", description="run model.pt with torch, or model.onnx, or its twin in fewer bits, with ONNX Runtime"
    )
    host: str = Field("127.0.0.1", description="address to listen at; 0.0.0.0 is every network")
    port: int = Field(8000, ge=0, le=65535, description="port; 0 takes a free one, which the log names")
    workers: int = Field(1, ge=1, le=64, description="processes behind the port, each with a model of its own")
    threads: int = Field(1, ge=1, le=256, description="threads of each worker's model")
    decoders: int = Field(2, ge=1, le=64, description="processes of each worker that decode recordings")
    token: SecretStr | None = Field(
        None, description="clients must send 'Authorization: Bearer TOKEN' to /v1; give it by the environment, a command line can be seen"
    )
    sign_key: Path | None = Field(
        None, description="file with the key of 'finetune export --sign_key'; only bundles that were signed with it are then served"
    )
    max_bytes: int = Field(64 * MEBIBYTE, ge=1, description="largest body of a request, bytes")
    max_files: int = Field(32, ge=1, description="most recordings in one request")
    max_seconds: float = Field(600.0, gt=0, allow_inf_nan=False, description="longest recording, s")
    max_channels: int = Field(8, ge=1, description="most channels of a recording")
    max_rate_hz: int = Field(192_000, ge=1, description="highest sample rate of a recording, Hz")
    max_in_flight: int = Field(16, ge=1, description="requests that a worker takes at once; further ones are answered 503 queue_full")
    max_decoded_bytes: int = Field(1024 * MEBIBYTE, ge=1, description="decoded audio that a worker holds at once, bytes; more of it waits")
    max_batch: int = Field(16, ge=1, description="most recordings in one call of the model")
    max_batch_seconds: float = Field(120.0, gt=0, description="most padded audio in one call of the model that joins recordings, s")
    timeout_s: float = Field(
        30.0, gt=0, description="time limit of a request from its first byte to its answer, s; beyond it 503 timed_out"
    )
    decode_timeout_s: float = Field(10.0, gt=0, description="time limit of decoding one recording, s; its process is then replaced")
    drift_window: int = Field(
        1000, ge=200, description="recordings of a worker, the last ones, whose scores and flags are compared with the bundle's reference"
    )
    drain_s: float = Field(20.0, ge=0, description="how long a stop waits for requests in flight, s")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level of the log's lines")

    @field_validator("token")
    @classmethod
    def _not_empty(cls, token: SecretStr | None) -> SecretStr | None:
        # An empty variable is a deployment's mistake, and must not open the service.
        if token is not None and not token.get_secret_value().strip():
            raise ValueError("is empty: give a token, or leave it out")
        return token


def parse(args: Sequence[str]) -> Settings:
    """Settings from a command line and the environment; dashes and underscores are one.

    Raises:
        SystemExit: 0 after ``--help``, 2 with one sentence when a setting is wrong.
    """
    try:
        return Settings(_cli_parse_args=[_with_underscores(arg) for arg in args])  # type: ignore[call-arg]
    except ValidationError as error:
        print(f"error: python -m serve: {_sentence(error.errors(include_url=False)[0])}", file=sys.stderr)
        raise SystemExit(2) from None


def unknown_variables() -> list[str]:
    """Names in the environment that look like settings and are none; other programs may have them, or one is mistyped."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)


def _with_underscores(arg: str) -> str:
    name, equals, value = arg.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if name.startswith("--") else arg


def _sentence(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    return f"--{name} ({PREFIX}{name.upper()}): {message}; see --help."
