"""Networks against targets, cell by cell: each is in the file of results when it is measured."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import nn

from ...core.crash_log import is_of_ctrl_c
from ...core.tasks import Lost, Runner
from ...errors import EdgearkError
from ...zoo.registry import model_entry
from ..pipeline import Step, announce_float_only, planned_precisions, silent
from ..request import NetworkRequest, require_limit
from ..results.schema import ExportResult, MatrixResult
from ..targets import find_target, find_targets
from ..toolchains.parallel import as_they_end
from .cells import Cell, measure_cell, opened
from .records import RESULTS, read_results, weights_digest, write_results

Known = Mapping[tuple[str, str, str], MatrixResult]


@dataclass
class Measured:
    """How :func:`measure` ended.

    Args:
        rows: of the cells that were measured, in the order of the plan.
        cells: how many these are.
        planned: how many were to be measured.
        kept: results that the file had already, of cells that were not measured again.
        faults: why networks could not be measured, a line each.
        lost: cells whose worker died, a line each.
        interrupted: by Ctrl-C.
    """

    rows: list[ExportResult] = field(default_factory=list)
    cells: int = 0
    planned: int = 0
    kept: list[MatrixResult] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    interrupted: bool = False


def measure(
    requests: Sequence[NetworkRequest],
    targets: str | Sequence[str],
    path: Path,
    *,
    limit: int | None = None,
    jobs: int = 1,
    resume: bool = False,
    runner: Runner | None = None,
    on_step: Step = silent,
    on_row: Callable[[ExportResult, int], None] | None = None,
) -> Measured:
    """Export each network to the targets, in float and int8, and record what comes of it.

    The file is written after each cell, a network on a target; what it says of others stays. A
    network that cannot be measured does not stop the others.

    Args:
        requests: the networks; the results that ship are of the zoo's as they ship.
        targets: as for :func:`export_model`.
        path: the file of results.
        limit: at most so many test images.
        jobs: so many cells at a time.
        resume: leave out the cells that the file has of the same weights, limit and toolchain
            versions. What :func:`is_known` cannot tell is measured again.
        runner: what measures the cells, if not this process; ``jobs`` and ``on_step`` are not its.
        on_step: told what is being done.
        on_row: told of each row when it is recorded, and how many there will be.

    Raises:
        EdgearkError: unknown names, a limit or jobs below 1, or a file that holds something else.
    """
    _require_own_file(requests, path)
    read_results(path)
    ended = Measured()
    cells: list[Cell] = []
    rows: dict[int, tuple[ExportResult, ...]] = {}
    try:
        cells = _plan(requests, targets, limit, on_step)
        if resume:
            cells, ended.kept = _without_known(cells, read_results(path), on_step)
        if runner is not None:
            cells = [replace(cell, request=_to_send(cell.request)) for cell in cells]
            done = runner(measure_cell, cells)
        else:
            done = as_they_end(functools.partial(measure_cell, on_step=on_step), cells, jobs)
        ended.planned = len(cells)
        count = sum(len(planned_precisions(find_target(cell.target), int8=True)) for cell in cells)
        with closing(done) as results:
            for index, result in results:
                if isinstance(result, Lost):
                    cell = cells[index]
                    ended.lost.append(f"{cell.request.title} to {cell.target}: {result.reason}")
                elif result.fault:
                    ended.faults.append(result.fault)
                else:
                    record(result.results, path)
                    rows[index] = result.rows
                    for row in result.rows:
                        if on_row:
                            on_row(row, count)
    except BaseException as error:
        if not is_of_ctrl_c(error):
            raise
        ended.interrupted = True
    finally:
        opened.close()
    ended.rows = [row for index in sorted(rows) for row in rows[index]]
    ended.cells = len(rows)
    ended.faults = list(dict.fromkeys(ended.faults))
    return ended


def record(results: Sequence[MatrixResult], path: Path) -> None:
    """Write them into the file, in place of those of the same model, target and precision."""
    known = {result.key: result for result in read_results(path)}
    write_results(list({**known, **{result.key: result for result in results}}.values()), path)


def _require_own_file(requests: Sequence[NetworkRequest], path: Path) -> None:
    own = [each.title for each in requests if not each.is_measured or each.weights]
    if own and path == RESULTS:
        raise EdgearkError(
            f"{own[0]} is a network of your own: name a file for its results, --file"
        )


def _plan(
    requests: Sequence[NetworkRequest],
    targets: str | Sequence[str],
    limit: int | None,
    on_step: Step,
) -> list[Cell]:
    """Network by network, so that each is opened once."""
    require_limit(limit)
    for request in requests:
        if request.is_measured and not isinstance(request.network, nn.Module):
            model_entry(str(request.network))
    names = targets if isinstance(targets, str) else ",".join(targets)
    find_targets(names)
    run, cells = secrets.token_hex(4), []
    known: dict[str, None] = {}
    for index, request in enumerate(requests):
        on_step(f"{request.title}: reading the network")
        chosen = find_targets(names, request.fits)
        announce_float_only([each for each in chosen if each.full_name not in known])
        known |= dict.fromkeys(each.full_name for each in chosen)
        cells += [Cell(f"{run}-{index}", request, each.full_name, limit) for each in chosen]
    return cells


def _without_known(
    cells: Sequence[Cell], results: Sequence[MatrixResult], on_step: Step
) -> tuple[list[Cell], list[MatrixResult]]:
    """The cells that are left to measure, and the results that stand for the others."""
    known: Known = {result.key: result for result in results}
    left, kept = [], []
    facts: dict[str, tuple[str, str]] = {}  # name and weights of each network
    for cell in cells:
        if cell.network not in facts:
            on_step(f"{cell.request.title}: comparing weights")
            facts[cell.network] = _name_of(cell.request), weights_digest(cell.request)
        target, (name, weights) = find_target(cell.target), facts[cell.network]
        keys = [(name, cell.target, each) for each in planned_precisions(target, int8=True)]
        found = [known[key] for key in keys if key in known]
        versions = target.versions()
        if len(found) == len(keys) and all(
            is_known(each, weights, versions, cell.limit) for each in found
        ):
            kept += found
        else:
            left.append(cell)
    return left, kept


def is_known(
    result: MatrixResult, weights: str, versions: Mapping[str, str], limit: int | None
) -> bool:
    """Whether measuring would find the same: same weights, versions and number of images.

    A toolchain that was not to be had may be by now. Earlier releases did not record the limit: of
    theirs the number of images behind the metric counts.
    """
    asked = result.limit
    if asked is None and result.metric is not None:
        asked = result.metric.n
    same_images = asked == (limit or 0)
    same_makers = result.weights == weights and result.toolchain == versions
    return result.status != "unavailable" and same_makers and same_images


def _name_of(request: NetworkRequest) -> str:
    """What its rows are called."""
    is_named = request.is_measured and not isinstance(request.network, nn.Module)
    return str(request.network) if is_named else request.source.name


def _to_send(request: NetworkRequest) -> NetworkRequest:
    """The request alone, without what has been opened of it.

    Raises:
        EdgearkError: it holds a network or a function, which other processes may not have.
    """
    if isinstance(request.network, nn.Module) or callable(request.metric):
        raise EdgearkError(
            f"{request.title}: name the network and its metric as FILE.py:NAME, which workers open"
        )
    return replace(request)
