"""Run one target under atheris, which lives in the clients' environment: the code under test keeps its own libraries."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients"

sys.path.insert(0, str(ROOT))
# Behind our own: only what is missing here comes from there.
sys.path.append(sysconfig.get_path("purelib", vars={"base": str(CLIENTS)}))

import atheris  # noqa: E402 - found only now


def instrumented() -> object:
    """Return a context in which imports of the sidecar are instrumented for coverage."""
    return atheris.instrument_imports(include=["sidecar"])


def fuzz(target: Callable[[atheris.FuzzedDataProvider], None], *words: bytes) -> None:
    """Feed `target` until the time is up; `words` are what the format is made of."""
    folder = ROOT / ".fuzz" / Path(sys.argv[0]).stem
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    dictionary = folder / "words"
    dictionary.write_text("".join(f'"{escaped(word)}"\n' for word in words))
    for number, word in enumerate(words):
        for choice in range(3):
            # What a target chooses by is taken from the end of the data.
            (corpus / f"word-{number}-{choice}").write_bytes(word + bytes((7, choice)))
    arguments = [f"-dict={dictionary}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-timeout=5"]
    atheris.Setup([*sys.argv, *arguments, str(corpus)], lambda data: target(atheris.FuzzedDataProvider(data)))
    atheris.Fuzz()


def escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
