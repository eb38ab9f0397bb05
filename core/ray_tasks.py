"""Pieces of work on a Ray cluster: the one place that knows Ray, which is an extra of edgeark's."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import EdgearkError
from .crash_log import describe_fault, is_of_ctrl_c
from .settings import OFFLINE_VARIABLE, TRUST_VARIABLE
from .tasks import Lost, Runner

logger = logging.getLogger(__name__)

RETRIES = 3  # of a piece whose worker dies
_OPTIONS = (OFFLINE_VARIABLE, TRUST_VARIABLE)  # what the command line sets in the environment
_STORE_BYTES = 128 * 2**20  # results are small; Ray would take a third of the memory
_REACHED_S, _POLL_S = 5.0, 1.0
_PACKAGES = ("ray", "grpc")


class RayError(EdgearkError):
    """Ray is not installed, or no cluster answers at an address."""


@dataclass(frozen=True)
class Needs:
    """What a piece takes of a node.

    Args:
        memory_bytes: of the largest node all, where none has so much.
        may_share: pieces get equal shares of the cluster's CPUs, and not one each.
        gpu: one, where the cluster has any.
    """

    memory_bytes: int = 0
    may_share: bool = False
    gpu: bool = False


def ray_runner(address: str, needs: Needs) -> Runner:
    """Runs pieces as tasks of a cluster: as many at a time as its nodes have CPUs and memory for.

    It connects when it is called, and leaves when it is done. A piece whose worker dies is begun
    again, up to :data:`RETRIES` times.

    Args:
        address: ``local`` starts a cluster on this machine; ``auto`` is the one that runs here;
            ``HOST:PORT`` is a cluster's head, ``ray://HOST:PORT`` its server of Ray Client.
        needs: of each piece.

    Raises:
        RayError: Ray is not installed, or nothing answers.
    """
    if any(find_spec(name) is None for name in _PACKAGES):
        raise RayError("--ray needs its package: pip install 'edgeark[ray]'")
    _require_reachable(address)

    def run(
        function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Generator[tuple[int, Any | Lost], None, None]:
        if not items:
            return
        with _connected(address) as cluster:
            yield from cluster.run(function, items, needs)

    return run


@contextmanager
def _connected(address: str) -> Iterator[_Cluster]:
    # Nothing is reported to Ray's makers, and no notice of a coming release is printed.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = import_module("ray")
    own: dict[str, Any] = {}
    if address == "local":
        own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES}
        logger.info("starting Ray on this machine")
    try:
        with _own_signals(), redirect_stdout(_Notices()):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (Exception, SystemExit) as error:  # of another release, say
        if is_of_ctrl_c(error):
            raise KeyboardInterrupt from error
        said = " ".join(str(error).split())[:300]
        raise RayError(f"no Ray cluster at {address}: {said}") from error
    try:
        with redirect_stdout(_Notices()):
            yield _Cluster(ray, address)
    finally:
        ray.shutdown()


class _Notices(io.TextIOBase):
    """What Ray prints while it works, dying workers and new nodes, goes into the log in short."""

    def write(self, text: str) -> int:
        plain = " ".join(re.sub(r"\x1b\[\d*m", "", text).split())
        if plain:
            logger.warning("Ray: %s", plain.partition(". ")[0][:200])
        return len(text)


class _Cluster:
    """A cluster that this process is connected to."""

    def __init__(self, ray: Any, address: str) -> None:
        self._ray, self._address = ray, address

    def run(
        self, function: Callable[[Any], Any], items: Sequence[Any], needs: Needs
    ) -> Generator[tuple[int, Any | Lost], None, None]:
        """See :func:`ray_runner`."""
        ray = self._ray
        settings = {name: os.environ[name] for name in _OPTIONS if name in os.environ}
        sent = _Sent(__version__, str(Path.cwd()), settings)
        resources = self._resources(needs, len(items))
        task = ray.remote(_call).options(name="edgeark", max_retries=RETRIES, **resources)
        calls = {task.remote(function, item, sent): index for index, item in enumerate(items)}
        try:
            while calls:
                for done in ray.wait(list(calls), timeout=_POLL_S)[0]:
                    index = calls.pop(done)
                    yield index, self._result(done)
        finally:
            for call in calls:
                with suppress(Exception):
                    ray.cancel(call, force=True)

    def _result(self, done: Any) -> Any | Lost:
        errors = import_module("ray.exceptions")
        try:
            result = self._ray.get(done)
        except errors.RayTaskError as error:  # _call raises nothing: it did not come so far
            said = str(error).strip().splitlines()[-1][:300]
            raise RayError(
                f"a worker of {self._address} cannot run edgeark {__version__}: install it there "
                f"({said})"
            ) from error
        except errors.RayError as error:
            said = str(error).strip().splitlines()[0][:200]
            return Lost(f"its workers died, {1 + RETRIES} times at most: {said}")
        if isinstance(result, _Fault):
            raise EdgearkError(result.line)
        return result

    def _resources(self, needs: Needs, count: int) -> dict[str, Any]:
        """What a piece asks for; more than the largest node has would be waited for in vain."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        cpus = [node.get("CPU", 0) for node in nodes]
        most = max(cpus, default=0)
        if most < 1:
            logger.warning("no node of %s has a CPU to give: waiting for one", self._address)
        share = sum(cpus) // max(1, count) if needs.may_share else 1
        asked: dict[str, Any] = {"num_cpus": max(1, min(most, share))}
        if needs.memory_bytes:
            able = [n["memory"] for n in nodes if n.get("CPU", 0) >= 1 and "memory" in n]
            asked["memory"] = int(min(needs.memory_bytes, max(able, default=needs.memory_bytes)))
        if needs.gpu and any(node.get("GPU", 0) >= 1 for node in nodes):
            asked["num_gpus"] = 1
        return asked


@dataclass(frozen=True)
class _Sent:
    """What is the same for all pieces.

    Args:
        version: of edgeark, here.
        folder: where relative paths begin.
        settings: environment variables.
    """

    version: str
    folder: str
    settings: dict[str, str]


@dataclass(frozen=True)
class _Fault:
    line: str


def _call(function: Callable[[Any], Any], item: Any, sent: _Sent) -> Any:
    """In a worker: the result, or what was raised, as one line."""
    try:
        if sent.version != __version__:
            raise RayError(
                f"a worker on {socket.gethostname()} has edgeark {__version__}, and this is "
                f"{sent.version}: install the same everywhere"
            )
        os.environ.update(sent.settings)
        if Path(sent.folder).is_dir():
            os.chdir(sent.folder)
        return function(item)
    except EdgearkError as error:
        return _Fault(str(error))
    except Exception as error:  # noqa: BLE001 (it is said where the command runs)
        return _Fault(f"{describe_fault(error)} (on {socket.gethostname()})")


def _require_reachable(address: str) -> None:
    """Ray itself would try for two minutes."""
    if address in ("local", "auto"):
        return
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise RayError(f"--ray {address}: write local, auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_S).close()
    except OSError as error:
        raise RayError(
            f"nothing answers at {address} ({error.strerror or error}); ray status there says "
            "whether a cluster runs"
        ) from None
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return
    grpc = import_module("grpc")  # which Ray's servers speak
    channel = grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)])
    try:
        grpc.channel_ready_future(channel).result(timeout=_REACHED_S)
    except grpc.FutureTimeoutError:
        raise RayError(f"what answers at {address} is no Ray cluster") from None
    finally:
        channel.close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handlers of this program, which Ray would replace."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
