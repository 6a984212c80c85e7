"""A registry on loopback that hands out what an image layout holds: OCI distribution-spec 1.1, pulls and referrers."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REFERENCE = "org.opencontainers.image.ref.name"


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve the files of a layout as the repository "app"; yields host and port."""
    index = json.loads(files["index.json"])
    tags = {one.get("annotations", {}).get(REFERENCE): one["digest"] for one in index["manifests"]}
    referrers: dict[str, list[dict[str, object]]] = {}
    for one in index["manifests"]:
        manifest = json.loads(files[blob(one["digest"])])
        if "subject" in manifest:
            referrers.setdefault(manifest["subject"]["digest"], []).append(one)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            *_, kind, name = self.path.split("/")
            data, media_type = b"{}", "application/json"
            if kind == "referrers":
                media_type = "application/vnd.oci.image.index.v1+json"
                value = {"schemaVersion": 2, "mediaType": media_type, "manifests": referrers.get(name, [])}
                data = json.dumps(value).encode()
            elif kind in ("manifests", "blobs"):
                digest = tags.get(name, name)
                if blob(digest) not in files:
                    self.send_error(404)
                    return
                data = files[blob(digest)]
                media_type = "application/octet-stream"
                if kind == "manifests":
                    media_type = json.loads(data).get(
                        "mediaType", "application/vnd.oci.image.manifest.v1+json"
                    )
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(data).hexdigest()}")
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
