"""Pages as a real browser shows them: Chromium without a window, skipped where it is not."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *(
        "--hide-scrollbars",
        "--enable-logging=stderr",
        "--v=0",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ),
]
FRAME = "/frame.html"
SCROLLED = ".vmm-scroll, .picture, pre, .cell_output, .bd-sidebar-primary, dialog"
"""What may be wider than the window: it scrolls by itself, or is not shown."""
LOOK = """<!DOCTYPE html><link rel="icon" href="data:,"><body><script>
const [page, width] = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const frame = document.createElement("iframe");
frame.style = `border: 0; width: ${width}px; height: 900px`;
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const all = (selector) => Array.from(page.querySelectorAll(selector));
  const start = (e) => e.outerHTML.slice(0, 120);
  const box = (e) => e.getBoundingClientRect();
  const wide = all("body *").filter((e) => box(e).right > width + 1 && !e.closest("SCROLLED"));
  const found = {
    width: root.scrollWidth, room: root.clientWidth, wide: wide.slice(0, 5).map(start),
    broken: all("img").filter((i) => !i.complete || !i.naturalWidth).map(start),
    images: all("img").map((i) => [box(i).left, box(i).top]),
    links: all("a[href]").map((a) => a.href),
    lost: all('a[href^="#"]').map((a) => a.getAttribute("href").slice(1))
        .filter((id) => id && !page.getElementById(decodeURIComponent(id))),
    letters: page.body.innerText.length,
    size: parseFloat(getComputedStyle(page.body).fontSize),
  };
  const text = document.createElement("pre");
  text.id = "found"; text.textContent = JSON.stringify(found); document.body.append(text);
};
frame.src = page; document.body.append(frame);
</script>""".replace("SCROLLED", SCROLLED)


@dataclass
class Seen:
    """What a page looked like.

    Attributes
    ----------
    width, room : float
        Of the page, and of the window that it has to fit.
    wide : list of str
        Elements that stand out of the window.
    broken : list of str
        Images that are not shown.
    images : list of (left, top)
        Where images stand.
    links : list of str
    lost : list of str
        Places in the page that links name and that are not there.
    letters : int
    size : float
        Of letters, in pixels.
    said : list of str
        Lines of the console.
    missing : list of str
        Files of the site that the page, or a link on it, asks for in vain.
    """

    width: float
    room: float
    wide: list[str]
    broken: list[str]
    images: list[tuple[float, float]]
    links: list[str]
    lost: list[str]
    letters: int
    size: float
    said: list[str]
    missing: list[str]


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if urlsplit(self.path).path != FRAME:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(LOOK.encode())

    def send_error(self, *args: object, **kwargs: object) -> None:
        self.server.lacking.append(urlsplit(self.path).path)
        super().send_error(*args, **kwargs)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; return its address, and a list of what is asked for in vain."""
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.lacking = []
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", server.lacking
        server.shutdown()
        thread.join()


def seen(page: Path, width: int) -> Seen:
    """Open a page in a window of that width."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium is installed, in which pages would be opened")
    with _served(page.parent) as (site, lacking), tempfile.TemporaryDirectory() as profile:
        frame = f"{site}{FRAME}#{json.dumps([page.name, width])}"
        command = [
            chromium,
            *OPTIONS,
            f"--user-data-dir={profile}",
            "--window-size=1600,1000",
            frame,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-3000:]
    said = re.findall(r"CONSOLE[^\]]*\] (.*)", done.stderr)
    look = json.loads(html.unescape(found[1]))
    own = {unquote(urlsplit(link).path) for link in look["links"] if link.startswith(site)}
    lacking += [path for path in own if not (page.parent / path.lstrip("/")).exists()]
    missing = sorted(set(lacking) - {"/favicon.ico"})
    return Seen(**look, said=said, missing=missing)


def assert_readable(page: Path, width: int, notices: tuple[str, ...] = ()) -> Seen:
    """Open a page, and assert that all of it is there and can be read.

    `notices` are beginnings of lines that its scripts write to the console whenever all is well.
    """
    look = seen(page, width)
    assert [line for line in look.said if not line.lstrip('"').startswith(notices)] == []
    assert look.broken == [] and look.lost == [] and look.missing == []
    assert look.width <= look.room == width, look.wide
    assert look.letters > 500 and look.size >= 14
    return look
