"""Chromium without a window, told what to do by its DevTools protocol through two pipes."""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Generator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
_FLAGS += ("--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage")
# A camera with a picture of its own, which no one has to allow.
_FLAGS += ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
_PATIENCE_S = 180


def find_chromium() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Page:
    """One page; ``said`` holds what the browser complained of, the page's own policy too."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._left = write, read, b""
        self._numbers, self.said = itertools.count(1), list[str]()
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a method of the protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def open(self, url: str) -> None:
        """Go to a page of the bundle's, and wait until it can be used."""
        self.call("Page.navigate", url=url)
        self.evaluate(
            "new Promise((done) => document.readyState === 'complete' ? done() : "
            "addEventListener('load', done))"
        )
        self.evaluate("import(document.scripts[0].src).then((page) => page.ready)")

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, awaited."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"].get("exception", found)))
        return found["result"].get("value")

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file as a user would."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path.resolve())], nodeId=node)

    def wait_for(self, condition: str) -> Any:
        """The first true value of an expression."""
        ends = time.monotonic() + _PATIENCE_S
        while not (value := self.evaluate(condition)):
            if time.monotonic() > ends:
                raise TimeoutError(f"never: {condition}; {self.said}")
            time.sleep(0.05)
        return value

    def screenshot(self, path: Path, width: int, scheme: str = "light", height: int = 900) -> None:
        """What is seen at that width, down to the page's end."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not select.select([self._read], [], [], _PATIENCE_S)[0]:
                raise TimeoutError("no answer of the browser")
            part = os.read(self._read, 1 << 16)
            if not part:
                raise RuntimeError("the browser has ended")
            self._left += part
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.said.append(parameters["entry"]["text"])
        if event.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.said.append(details.get("exception", {}).get("description", details["text"]))


@contextlib.contextmanager
def open_browser(profile: Path) -> Generator[Page]:
    """A page in a browser of its own, which ends with the block."""
    program = find_chromium()
    assert program is not None
    to_browser, our_write = os.pipe()
    our_read, from_browser = os.pipe()
    # The browser reads from descriptor 3 and writes to 4.
    plumbing = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    command = ["bash", "-c", plumbing, "bash", program, *_FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        command,
        pass_fds=(to_browser, from_browser),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(our_write, our_read)
    finally:
        os.close(our_write)
        os.close(our_read)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


@contextlib.contextmanager
def serve(folder: Path) -> Generator[str]:
    """The address at which a folder is served, as ``python -m http.server`` does."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()
