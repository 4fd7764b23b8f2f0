"""A headless Chromium, driven over its DevTools protocol by two pipes: clicks and keys are real."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

BINARY = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "Escape": 27}


class Chromium:
    """One page of a browser.

    Attributes:
        problems: errors of the console and exceptions that nobody caught.
        requests: the addresses of all that the page asked for.
    """

    def __init__(self, profile: Path, width: int = 1300, height: int = 1000) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._events: list[dict] = []
        self._buffer, self._last, self._session = b"", 0, None
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        options = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
            *(f"--window-size={width},{height}", "--no-first-run", "--disable-dev-shm-usage"),
        ]
        command = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", BINARY, *options]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, pass_fds=(read, write), **quiet)
        os.close(read)
        os.close(write)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def open(self, page: Path, view: str = "") -> float:
        """Load a file; returns the seconds until its scripts have run."""
        self.send("Page.navigate", url="about:blank")  # or else a new view of the same page would not load it again
        self._until(lambda: self.js("location.href") == "about:blank")
        self._events.clear()
        began = time.monotonic()
        self.send("Page.navigate", url=f"{page.resolve().as_uri()}#{view}")
        self._until(lambda: any(event["method"] == "Page.loadEventFired" for event in self._events))
        self._events.clear()
        return time.monotonic() - began

    def js(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Until an expression is true."""
        self._until(lambda: self.js(f"Boolean({condition})"), seconds)

    def click(self, selector: str) -> None:
        """With the mouse, in the middle of what the selector finds first."""
        box = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{box}.scrollIntoView({{block: 'center'}})")
        place = self.js(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({box}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", buttons=1, clickCount=1
            )

    def press(self, key: str, shift: bool = False) -> None:
        """A key, as a reader without a mouse does."""
        about = {"key": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 8 * shift}
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def choose(self, selector: str, value: str) -> None:
        """A value in a select or an input."""
        box = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{box}.value = {json.dumps(value)}, {box}.dispatchEvent(new Event('input', {{bubbles: true}})),"
                f"{box}.dispatchEvent(new Event('change', {{bubbles: true}}))")  # fmt: skip

    def names(self) -> set[tuple[str, str]]:
        """(role, name) of all that a screen reader gets."""
        everything = self.send("Accessibility.getFullAXTree")["nodes"]
        nodes = [node for node in everything if not node["ignored"]]
        return {(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes}

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def send(self, method: str, **parameters: Any) -> dict:
        """Call a method of the protocol and wait for its answer."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict) -> None:
        self._events.append(event)
        given = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(given["exceptionDetails"]))
        elif event["method"] == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(given["args"]))
        elif event["method"] == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.problems.append(given["entry"]["text"])
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            ready, *_ = select.select([self._read], [], [], 120)
            read = os.read(self._read, 1 << 20) if ready else b""
            assert read, "the browser ended or is silent"
            self._buffer += read
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def _until(self, done: Any, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"not within {seconds} seconds"
            self.js("new Promise((go) => setTimeout(go, 50))")
