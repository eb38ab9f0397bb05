"""Tasks by name: all that edgeark knows of one is in its class. See :class:`Task`."""

from . import classification, detection, raw, segmentation  # they register themselves
from .base import (
    Answer,
    ModelInput,
    Sample,
    Task,
    TaskName,
    get_task,
    list_tasks,
    reading_outputs,
    register_task,
)

__all__ = [
    "Answer",
    "ModelInput",
    "Sample",
    "Task",
    "TaskName",
    "classification",
    "detection",
    "get_task",
    "list_tasks",
    "raw",
    "reading_outputs",
    "register_task",
    "segmentation",
]
