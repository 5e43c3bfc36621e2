"""A headless Chromium at the end of a pipe: the DevTools protocol, as far as the tests need it."""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # which root must go without
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
WAIT_S = 60


def program() -> str | None:
    """Return the browser of this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab. ``errors`` collects what the console complains of, ``requests`` what is loaded."""

    def __init__(self, send: BinaryIO, receive: BinaryIO) -> None:
        self._send = send
        self._receive = receive
        self._unread = b""
        self._number = 0
        self._session = None
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given) -> dict:
        """Return what a method of the protocol answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        self._send.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, path: Path, width: int, height: int = 900, scheme: str = "light") -> None:
        """Open a file in a window of a size, and wait until all of it is loaded."""
        phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.errors.clear()
        self.requests.clear()
        self._loaded = False
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not self._loaded:
            self._next()

    def run(self, script: str):
        """Return the value of an expression, or of its promise, on the page."""
        given = {"expression": script, "returnByValue": True, "awaitPromise": True}
        found = self.call("Runtime.evaluate", **given)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self) -> bytes:
        """Return what is to be seen, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def _next(self) -> dict:
        while b"\0" not in self._unread:
            more = os.read(self._receive.fileno(), 1 << 16)
            assert more, "the browser has ended"
            self._unread += more
        text, self._unread = self._unread.split(b"\0", 1)
        message = json.loads(text)
        event, told = message.get("method"), message.get("params", {})
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.errors.append(str(told["args"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.errors.append(str(told["entry"]))
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        return message


@contextlib.contextmanager
def started() -> Iterator[Page]:
    """Start a browser with a profile of its own, and end it."""
    commands, ours_out = os.pipe()
    ours_in, answers = os.pipe()
    # The browser reads commands at descriptor 3 and answers at 4, which may be taken here.
    theirs = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in (commands, answers)]
    moved = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    moved += "os.execv(sys.argv[3], sys.argv[3:])"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(
            [sys.executable, "-c", moved, *map(str, theirs), *command],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (commands, answers, *theirs):
            os.close(descriptor)
        with os.fdopen(ours_out, "wb") as send, os.fdopen(ours_in, "rb") as receive:
            try:
                yield Page(send, receive)
            finally:
                process.terminate()
                process.wait(WAIT_S)
