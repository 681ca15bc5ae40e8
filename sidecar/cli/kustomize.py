"""`sidecar kustomize MANIFESTS --into FOLDER`: an overlay that puts the sidecar before someone else's workload."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from sidecar.errors import ConfigError
from sidecar.manifests.overlay import overlay
from sidecar.manifests.resources import read
from sidecar.policy.kinds.catalogue import names

FINE: Final = 0
COMPONENT: Final = Path("deploy/kubernetes/component")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the manifests and what is chosen of them."""
    parser.add_argument(
        "manifests", metavar="MANIFESTS", help="a file of manifests, as it is applied today; - is stdin"
    )
    parser.add_argument("--into", metavar="FOLDER", required=True, type=Path, help="a new folder, which is written")
    parser.add_argument("--workload", default="", help="which Deployment or StatefulSet, if Services lead to several")
    parser.add_argument("--port", default="", help="which port of the Service users come through, by name or number")
    parser.add_argument(
        "--kind", default="", choices=["", *names()], metavar="KIND", help="the chat system (sidecar kinds)"
    )
    parser.add_argument(
        "--component", metavar="FOLDER", type=Path, help=f"the project's {COMPONENT} (default: found from here)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, and say what is left to do; return FINE."""
    source = "stdin" if arguments.manifests == "-" else arguments.manifests
    try:
        content = sys.stdin.buffer.read() if arguments.manifests == "-" else Path(source).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {(error.strerror or 'error').lower()}") from None
    folder: Path = arguments.into
    if folder.exists():
        raise ConfigError(f"{folder} exists already; name a new folder")
    resources = read(content, source)
    made = overlay(
        content.decode(),
        resources,
        _component(arguments.component),
        source=source,
        workload=arguments.workload,
        port=arguments.port,
        kind=arguments.kind,
    )
    for name, text in made.files.items():
        file = folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        except OSError as error:
            raise ConfigError(f"cannot write {file}: {(error.strerror or 'error').lower()}") from None
        print(file)
    for remark in made.remarks:
        print(f"* {remark}", file=sys.stderr)
    print(f"then: kubectl kustomize {folder} | sidecar check --kubernetes -", file=sys.stderr)
    return FINE


def _component(named: Path | None) -> dict[str, str]:
    """Return file → content of the component: of the folder that is named, of the one here, or of a checkout's own."""
    places = [named] if named is not None else [COMPONENT, Path(__file__).parents[2] / COMPONENT]
    for place in places:
        if (place / "kustomization.yaml").is_file():
            return {file.name: file.read_text() for file in sorted(place.glob("*.yaml"))}
    shown = named or COMPONENT
    raise ConfigError(
        f"{shown} has no kustomization.yaml; write --component with the path of the project's {COMPONENT}"
    )
