"""Targets whose files a program of the user's runs: ``--tool NAME=PATH``."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np

from .base import Artifact, RunResult, Target


class ToolTarget(Target):
    """Without its program nothing runs. A script of the export's folder calls it."""

    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        tool = self.find_tool()
        return tool and self.run_tool(tool, artifact, images, log, confined=False)

    def run_untrusted(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        """The scripts must be edgeark's own, and their process cannot touch the user's files."""
        tool = self.find_tool()
        if tool is None:
            return None
        self.require_own_scripts(artifact.folder)
        return self.run_tool(tool, artifact, images, log, confined=True)

    @abstractmethod
    def run_tool(
        self, tool: Path, artifact: Artifact, images: np.ndarray, log: Path, *, confined: bool
    ) -> RunResult | None:
        """Run the script with the program; None where the program cannot run networks.

        Args:
            tool: the user's program.
            artifact: what was written.
            images: ``[N, C, H, W]`` uint8.
            log: of what the script prints.
            confined: the process can write nowhere but into a scratch folder.
        """

    @abstractmethod
    def require_own_scripts(self, folder: Path) -> None:
        """Compare the scripts of an export's folder with those that edgeark writes.

        Raises:
            EdgearkError: a script differs.
        """
