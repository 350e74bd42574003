"""The service's image as a file: its packages are those of the extra ``serve``, and nothing that trains."""

import configparser
import importlib.metadata
import re
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker" / "service"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
BACKENDS = ("onnx", "torch")
TRAINING = {"pytorch-lightning", "timm", "torchaudio", "nnaudio", "scikit-learn", "pandas", "wandb", "librosa", "jsonargparse"}


def requirements(text: str) -> dict[str, Requirement]:
    lines = [line.strip().split(" \\")[0] for line in text.splitlines()]
    found = [Requirement(line) for line in lines if re.match(r"[A-Za-z]", line)]
    return {requirement.name.lower(): requirement for requirement in found}


def asked() -> dict[str, Requirement]:
    return requirements((FOLDER / "service.in").read_text(encoding="utf-8"))


def locked(backend: str) -> dict[str, list[str]]:
    """Name -> versions; one version may be for some Pythons only."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", (FOLDER / f"{backend}.lock").read_text(encoding="utf-8"), re.MULTILINE):
        versions.setdefault(name.lower(), []).append(version)
    return versions


def test_it_asks_for_what_the_extra_serve_asks_for() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    everywhere = requirements(config["options"]["install_requires"])
    extra = requirements(config["options.extras_require"]["serve"])
    expected = {**extra, **{name: everywhere[name] for name in ("numpy", "soundfile")}}
    assert {name: r.specifier for name, r in asked().items()} == {name: r.specifier for name, r in expected.items()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_lock_holds_what_is_asked_for_with_hashes_and_nothing_that_trains(backend: str) -> None:
    versions = locked(backend)
    for name, requirement in asked().items():
        assert versions[name] and all(requirement.specifier.contains(version) for version in versions[name]), name
    assert not versions.keys() & TRAINING and not any(name.startswith(("nvidia", "cuda")) for name in versions)
    assert ("onnxruntime" in versions) == (backend == "onnx")
    text = (FOLDER / f"{backend}.lock").read_text(encoding="utf-8")
    assert all(re.search(rf"^{re.escape(name)}==.*\n    --hash=sha256:", text, re.MULTILINE) for name in versions)


def test_torch_comes_without_cuda_and_with_all_that_it_needs_on_a_processor() -> None:
    (version,) = re.findall(r"^ARG TORCH_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    (tested,) = re.findall(r"^torch==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert version == f"{tested}+cpu" and "--no-deps --index-url https://download.pytorch.org/whl/cpu" in DOCKERFILE
    needed = [Requirement(line) for line in importlib.metadata.requires("torch") or []]
    for requirement in needed:
        if not requirement.marker:
            assert all(requirement.specifier.contains(version) for version in locked("torch")[requirement.name]), requirement.name


def test_it_holds_the_service_alone_and_does_not_run_as_root() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert copied == ["docker/service/*.lock", "LICENSE", "serve"]
    stages = {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)}
    assert stages["onnx"] == stages["torch"] == "service"
    service = DOCKERFILE.partition("AS service\n")[2].partition("\nFROM")[0]
    assert re.search(r"^USER [1-9]\d*$", service, re.MULTILINE) and "HEALTHCHECK" in service and "/readyz" in service


def test_its_variables_are_settings() -> None:
    from serve.settings import Settings

    compose = yaml.safe_load((FOLDER / "compose.yml").read_text(encoding="utf-8"))
    names = {
        *re.findall(r"AUSCULT_([A-Z_]+)=", DOCKERFILE),
        *(key.removeprefix("AUSCULT_") for key in compose["services"]["service"]["environment"]),
    }
    assert names and {name.lower() for name in names} <= Settings.model_fields.keys()
    assert set(re.findall(r"^ENV AUSCULT_BACKEND=(\w+)$", DOCKERFILE, re.MULTILINE)) == set(BACKENDS)


def test_a_stop_has_longer_than_the_service_waits_for_requests() -> None:
    from serve.settings import Settings

    service = yaml.safe_load((FOLDER / "compose.yml").read_text(encoding="utf-8"))["services"]["service"]
    assert float(service["stop_grace_period"].removesuffix("s")) > Settings.model_fields["drain_s"].default
    assert all(port.startswith("127.0.0.1:") for port in service["ports"]) and service["read_only"]
