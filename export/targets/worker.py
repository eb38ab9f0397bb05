"""The worker of edgeark's own environment: a target runs its artifact."""

import sys
from pathlib import Path


def preload(function, arguments):
    # A target may be in a package of its own, where this isolated Python does not look.
    sys.path += [place for place in arguments["places"] if place not in sys.path]
    from edgeark.export.targets import find_target

    find_target(arguments["target"])


def run(arguments, arrays):
    preload("run", arguments)
    from edgeark.export.targets import find_target
    from edgeark.export.targets.base import Artifact

    fields = ("target", "precision", "settings")
    artifact = Artifact(
        **{key: arguments[key] for key in fields},
        folder=Path(arguments["folder"]),
        files=tuple(arguments["files"]),
        sources=tuple(arguments["sources"]),
    )
    result = find_target(artifact.target).run(artifact, arrays["images"], Path("run.log"))
    if result is None:
        return {}, {}
    outputs = {f"output{index}": output for index, output in enumerate(result.outputs)}
    return {"ms_per_image": result.ms_per_image}, outputs
