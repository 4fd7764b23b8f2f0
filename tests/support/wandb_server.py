"""As much of a W&B server as an upload asks for."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Keeps what it gets, and dies after so many answers."""

    def __init__(self, answers=1000):
        self.answers, self.runs, self.history, self.summary = answers, [], {}, {}
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, path, body):
        if path == "/wandb-summary.json":
            self.summary = body
        if path.endswith("/file_stream"):
            part = body.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            self.history |= dict(enumerate(map(json.loads, part["content"]), start=part["offset"]))
        if path == "/graphql" and body["operationName"] == "UpsertBucket":
            self.runs.append(body["variables"])
            project = {"id": "p", "name": "surm-bench", "entity": {"id": "e", "name": "somebody"}}
            bucket = {"id": "b", "name": "run", "config": "{}", "historyLineCount": 0, "project": project}
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if path == "/graphql" and body["operationName"] == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/{name}"} for name in body["variables"]["files"]]
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        return {"data": {}}

    def losses(self):
        return [self.history[line]["loss"] for line in sorted(self.history)]

    def handle_error(self, *_):
        """The other side closed a connection: not worth a traceback."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.answers -= 1
        if self.server.answers < 0:
            self.close_connection = True
            return
        with contextlib.suppress(ValueError):  # files that are not JSON
            content = json.loads(content)
        reply = json.dumps(self.server.reply(self.path, content)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass
