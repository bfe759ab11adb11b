"""A Comet server on loopback, and the rules for tests that need optional packages."""

import gzip
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import pytest

EXPERIMENT_ALREADY_EXISTS = 90999


class CometServer:
    """Answers and remembers. `behave` may be changed while it runs: "answer", "refuse_key", "dead" or "hang"."""

    def __init__(self):
        self.requests = []  # (path, api key, what was posted)
        self.behave = "answer"
        self.experiments = set()
        self.focus = "http://loopback/me/salt/"
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server._serve(self, b"")

            def do_POST(self):
                server._serve(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/clientlib/"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, request, body):
        while self.behave == "hang":
            time.sleep(0.1)
        if self.behave == "dead":  # connections that were kept alive end, too
            request.close_connection = True
            return
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            posted = json.loads(body)
        except ValueError:
            posted = body
        self.requests.append((request.path, request.headers.get("Authorization"), posted))
        status, answer = self._answer(request.path.partition("?")[0], posted)
        content = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _answer(self, path, posted):
        if path.endswith(("/logger/add/run", "/logger/get/run")):
            if self.behave == "refuse_key":
                return 400, {"msg": "invalid api key", "sdk_error_code": 90212}
            key = posted.get("experimentKey") or posted["previousExperiment"]
            if path.endswith("/add/run") and key in self.experiments:
                return 400, {"msg": "there is one", "sdk_error_code": EXPERIMENT_ALREADY_EXISTS}
            self.experiments.add(key)
            return 200, {
                "runId": "run", "projectId": "project", "project_name": "salt", "workspace": "me", "ws_server": None,
                "experimentKey": key, "experiment_name": "loopback", "isGithub": False,
                "focusUrl": self.focus, "lastOffset": 0, "featureToggles": [],
            }  # fmt: skip
        if path.endswith("/isAlive/ver"):
            return 200, {"version": "4.0.0"}
        if path.endswith("/status-report/update"):
            return 200, {"is_alive_beat_duration_millis": 10_000}
        return 200, {}

    @property
    def paths(self):
        return [path for path, _, _ in self.requests]

    @property
    def metrics(self):
        """Experiment -> name -> step -> value, of everything that was logged."""
        found = {}
        for path, _, posted in self.requests:
            if path.endswith("/batch/logger/experiment/metric"):
                for value in posted["values"]:
                    of = found.setdefault(posted["experimentKey"], {}).setdefault(value["metricName"], {})
                    of[value["step"]] = value["metricValue"]
        return found


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """Neither the user's keys and settings in the tests, nor the tests' in what comes after them."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("COMET_", "PL_", "WANDB_", "MLFLOW_")):
            del os.environ[name]
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def needs():
    """Skip where an optional package is not here; in CI that is a failure."""

    def check(module, package):
        if find_spec(module) is None:
            (pytest.fail if os.environ.get("SALT_CI") == "1" else pytest.skip)(f"{package} is not installed")

    return check


@pytest.fixture
def comet(needs, monkeypatch):
    """A Comet server that the client takes for the real one."""
    needs("comet_ml", "comet-ml")
    server = CometServer()
    monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
    yield server
    server.close()
