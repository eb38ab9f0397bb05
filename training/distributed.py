"""Whether this process is one of several, and which: ``torchrun`` says so in the environment."""

from __future__ import annotations

import os

import torch


def is_distributed() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first_process() -> bool:
    """Whether this process evaluates, writes and prints; true without torchrun."""
    return os.environ.get("RANK", "0") == "0"


def local_processes() -> int:
    """How many processes torchrun started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def machines() -> int:
    """On how many machines torchrun started processes."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))


def leave_group() -> None:
    """End the connection to the other processes, if any; all have done their part.

    A process that ends with it open may abort: its threads still run when they are torn down.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
