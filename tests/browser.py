"""Headless Chromium, driven through its DevTools protocol with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["CHROMIUM", "Browser"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_PATIENCE = 60.0  # seconds

# --no-sandbox: in a container there is no other way; the pages are our own.
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
    "--remote-debugging-port=0", "about:blank",
)  # fmt: skip


class Browser:
    """One tab. ``events`` are those since the last page was opened."""

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self._profile = tempfile.mkdtemp()
        self._process = subprocess.Popen(
            [CHROMIUM, *_OPTIONS[:-1], f"--user-data-dir={self._profile}", _OPTIONS[-1]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.events: list[dict[str, Any]] = []
        self._number, self._unread = 0, b""
        self._socket = self._connected()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(_PATIENCE)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _connected(self) -> socket.socket:
        told = Path(self._profile) / "DevToolsActivePort"
        deadline = time.monotonic() + _PATIENCE
        while not (told.exists() and told.read_text(encoding="ascii").count("\n")):
            assert time.monotonic() < deadline, "Chromium does not start"
            assert self._process.poll() is None, "Chromium ended at its start"
            time.sleep(0.05)
        port = int(told.read_text(encoding="ascii").split()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            tab = next(tab for tab in json.load(answer) if tab["type"] == "page")
        path = tab["webSocketDebuggerUrl"].split(str(port), 1)[1]
        connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._unread:
            self._unread += connection.recv(4096)
        self._unread = self._unread.split(b"\r\n\r\n", 1)[1]
        return connection

    def _read(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._unread += self._socket.recv(1 << 20)
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _message(self) -> dict[str, Any]:
        content, last = b"", False
        while not last:
            first, size = self._read(2)
            last = bool(first & 0x80)
            if size == 126:
                (size,) = struct.unpack(">H", self._read(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._read(8))
            content += self._read(size)
        found: dict[str, Any] = json.loads(content)
        return found

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        self._number += 1
        content = json.dumps({"id": self._number, "method": method, "params": parameters}).encode()
        mask = os.urandom(4)
        self._socket.sendall(
            b"\x81"
            + struct.pack(">BQ", 0xFF, len(content))
            + mask
            + bytes(c ^ mask[i % 4] for i, c in enumerate(content))
        )
        while (message := self._message()).get("id") != self._number:
            self.events.append(message)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def open(self, page: Path, width: int, *, dark: bool = False) -> None:
        """Load a file as a screen of some width shows it."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        address = page.resolve().as_uri()
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + _PATIENCE
        while self.value("document.readyState + ' ' + location.href") != f"complete {address}":
            assert time.monotonic() < deadline, f"{page} does not load"
            time.sleep(0.02)

    def value(self, script: str) -> Any:
        """What a script in the page comes to."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """Errors, and whatever else the page has written to the console."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        """Addresses that the page has asked for."""
        asked = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG file."""
        size = {"x": 0, "y": 0, "scale": 1, "width": self.value("innerWidth")}
        size["height"] = self.value("document.documentElement.scrollHeight")
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=size)
        path.write_bytes(base64.b64decode(shot["data"]))

    def printed(self) -> bytes:
        """The page as a PDF file."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])
