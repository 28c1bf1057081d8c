"""A container registry on this machine."""

import contextlib
import socket
import subprocess

from deploy.containers import until

CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: "{folder}"}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{accesslog: {{disabled: true}}, level: error}}
"""


@contextlib.contextmanager
def served_registry(folder):
    """Serve an empty registry without passwords during the block; yield its address."""
    port = _free_port()
    path = folder / "registry.yml"
    path.write_text(CONFIG.format(folder=folder / "registry", port=port), encoding="utf-8")
    with subprocess.Popen(["docker-registry", "serve", path], stderr=subprocess.DEVNULL) as process:
        until(lambda: _accepts(port), within_s=60)
        yield f"localhost:{port}"
        process.terminate()


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
