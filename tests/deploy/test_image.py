"""The image's recipe and the compose file, read as text: what is copied exists, what is locked agrees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORE = (ROOT / ".dockerignore").read_text().split("\n")
SOURCES = [
    source for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]
]


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_copied_exists_and_is_let_into_the_build(source):
    assert (ROOT / source).exists()
    assert IGNORE[1] == "*"
    assert f"!{source}" in IGNORE


def test_nothing_else_is_let_into_the_build():
    assert {line[1:] for line in IGNORE if line.startswith("!")} == set(SOURCES)


def test_the_image_runs_as_a_number_and_without_a_shell():
    last = DOCKERFILE.rsplit("\nFROM ", 1)[1]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["65532:65532"]
    assert re.findall(r"^(?:ENTRYPOINT|CMD) (.)", last, re.MULTILINE) == ["[", "["]
    assert "RUN" not in last


def test_every_wheel_is_checked_against_its_hash():
    installs = re.findall(r"pip install (.+?)(?: \\)?$", DOCKERFILE, re.MULTILINE)
    assert installs
    assert all("--require-hashes" in line or "--no-index" in line for line in installs)


def test_the_build_lock_agrees_with_the_development_lock():
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)==([^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))

    build, development = pins("requirements-build.lock"), pins("requirements-dev.lock")
    assert "hatchling" in build
    assert {name: development.get(name, version) for name, version in build.items()} == build


def test_compose_shares_loopback_and_publishes_the_sidecar_alone():
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    assert services["sidecar"]["network_mode"] == "service:app"
    assert services["app"]["ports"] == ["127.0.0.1:8080:8080"]
    assert "ports" not in services["redis"]
    assert services["app"]["command"][:2] == ["--host", "127.0.0.1"]
    for service in services.values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
