"""Every command that a page shows runs in a test: in the one that `RUN_BY` names, or here; or it says what it would need.

A page with a new command fails here until one of the three is written down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backends import Serving
from tests.support.pages import SECRETS, Shell, blocks
from tests.support.raw import post
from tests.support.sidecar import sidecar

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
RUN_BY = {
    "admin-api.md": "deploy/test_pages.py",
    "credentials.md": "deploy/test_pages.py",
    "data.md": "deploy/test_pages.py",
    "extending.md": "deploy/test_extending.py",
    "faq.md": "deploy/test_faq.py",
    "from-express.md": "deploy/test_migration_pages.py",
    "from-nginx.md": "deploy/test_migration_pages.py",
    "incident-response.md": "deploy/test_incident_response.py",
    "kubernetes-existing.md": "deploy/test_existing_manifests.py",
    "operating.md": "deploy/test_pages.py",
}
ELSEWHERE = {
    r"docker |kubectl (create|apply|get|logs|describe|delete|rollout|port-forward|exec$)": "an engine or a cluster",
    r"helm ": "a cluster; tests/deploy/test_chart.py renders the chart with Helm's engine",
    r"vllm |pip install |python -m pip ": "packages or models that are fetched",
    r"make ": "tests/deploy/test_documents.py holds that the target exists; CI runs check, audit, test, sbom",
    r"sidecar run|export ENCRYPTION_KEY|printf 'version": "tests/cli/test_demo.py starts a policy of a page",
    r"sidecar suggest": "tests/suggest and tests/backends ask for suggestions after a chat",
    r"sidecar credentials test": "a provider; tests/cli/test_credentials.py has one",
}
EXEC = re.compile(r"kubectl exec (?:-i )?\S+ -c chat-sidecar -- (?:python -m )?(?=sidecar )")
SECTIONS = {
    "cors": {"allowed_origins": ["https://your-website.com"]},
    "rate_limits": [{"name": "few", "per": "ip", "limit": 1, "window": "1h"}],
    "observe": ["host"],
    "requests": {"hosts": ["your-website.com"]},
}
KEY = "sk-proj-" + "a" * 48


def lines(page: str) -> list[str]:
    """Return the commands of a page, one a line, without what it says about them."""
    text = (DOCS / page).read_text()
    listed = "\n".join(blocks(page)).replace("\\\n", " ").splitlines()
    listed += [line[2:] for line in re.findall(r"^\$ .*$", text, re.MULTILINE)]
    if page.startswith("runbooks/"):
        listed += re.findall(r"`((?:sidecar|curl|kubectl) [^`…]+|grep [^`]+\|[^`]+)`", text)
    # What follows three blanks and a hash says what the command prints.
    said = (" ".join(re.sub(r"\s{2,}#.*", "", each).split()) for each in listed)
    return [line for line in said if line and line[0] != "#"]


PAGES = sorted(
    str(path.relative_to(DOCS)) for path in DOCS.glob("**/*.md") if lines(str(path.relative_to(DOCS)))
)  # fmt: skip
COMMANDS = list(dict.fromkeys(EXEC.sub("", line) for page in PAGES if page not in RUN_BY for line in lines(page)))
HERE = [line for line in COMMANDS if not any(re.match(needed, line) for needed in ELSEWHERE)]


def test_what_is_run_by_another_test_is_read_by_it() -> None:
    for page, name in RUN_BY.items():
        assert page.partition(".")[0] in (ROOT / "tests" / name).read_text(), page
        assert page in PAGES, page


def test_there_are_commands_of_many_pages() -> None:
    assert len(PAGES) > 25
    assert len(HERE) > 15


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A sidecar that has refused a request, and a key in its vault."""
    folder = tmp_path_factory.mktemp("commands")
    made = Shell(folder, KEY=KEY)
    (folder / "pinned.yaml").write_text(f"image: registry.example.com/chat@sha256:{'0' * 64}\n")
    (folder / "key.txt").write_text(KEY.replace("a", "n"))
    made.sh('printf %s "$KEY" | sidecar credentials add acme openai')
    with Serving() as backend, sidecar(folder, backend.url, SECRETS, **SECTIONS) as made.running:
        with made.running.connect() as client:
            refused = client.send(post("/api/chat", b"{}", "Origin: https://elsewhere.example")).response()
            statuses = [client.send(post("/api/chat", b"{}")).response().status for _ in range(2)]
        assert statuses == [200, 429]
        made.variables["REFUSED"] = json.loads(refused.body)["request_id"]
        made.running.logged(event="RATE_LIMIT_EXCEEDED")
        for name in ("old", "new"):
            (folder / f"{name}.yaml").write_text(made.running.policy.read_text())
        yield made


def here(command: str, shell: Shell) -> str:
    """Return the command with the files, ids and addresses of this test in it."""
    names = {
        "REQUEST_ID": shell.variables["REFUSED"],
        "events.log": str(shell.running.log),
        "OLD NEW": "old.yaml new.yaml",
        "your/overlay/*.yaml": "pinned.yaml",
        "<digest>": "0" * 64,
        ".ci/pins": str(ROOT / ".ci/pins"),
        " Dockerfile": f" {ROOT / 'Dockerfile'}",
        "your/overlay": str(ROOT / "deploy/kubernetes/overlay"),
        "ORG PROVIDER": "globex openai",
        "ORG ID": "acme crd_01",
        "acme openai --expires": "globex openai --expires",
    }
    for name, value in names.items():
        command = command.replace(name, value)
    if "crd_01" in command:
        shell.sh("sidecar credentials list acme --json > listed.json || true")
        if not json.loads((shell.folder / "listed.json").read_text() or "[]"):
            shell.sh('printf %s "$KEY" | sidecar credentials add acme openai')
        command = command.replace("crd_01", json.loads(shell.sh("sidecar credentials list acme --json"))[0]["id"])
    if re.match(r"sidecar credentials (add|rotate) [^<]*$", command) and "--help" not in command:
        command += " < key.txt"
    if "credentials add" in command and "--help" not in command:
        command = command.replace("openai", f"openai --name n{len(command)}")
    return command.replace("maintenance on", "maintenance on && sidecar maintenance off")


@pytest.mark.parametrize("command", HERE)
def test_it_runs(command: str, shell: Shell) -> None:
    shell.page(here(command, shell))
