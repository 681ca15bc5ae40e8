"""A ConfigMap's volume as the kubelet keeps it."""

from __future__ import annotations

from pathlib import Path


class ConfigMap:
    """`policy.yaml` → `..data/policy.yaml`, `..data` → `..N`; a new version is a new folder and one renamed link."""

    def __init__(self, folder: Path, text: str) -> None:
        self._folder = folder
        self._number = 0
        self.path = folder / "policy.yaml"
        self.swap(text)
        self.path.symlink_to("..data/policy.yaml")

    def swap(self, text: str) -> None:
        self._number += 1
        old = (self._folder / "..data").readlink() if (self._folder / "..data").is_symlink() else None
        new = self._folder / f"..{self._number}"
        new.mkdir()
        (new / "policy.yaml").write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(new.name)
        link.rename(self._folder / "..data")
        if old is not None:
            (self._folder / old / "policy.yaml").unlink()
            (self._folder / old).rmdir()
