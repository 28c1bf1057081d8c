"""Write the bill of materials (CycloneDX) of a packaged chart, of which syft lists nothing.

list_chart.py CHART DIGEST BILL: CHART is the package, DIGEST that of the image which was built with
it. A chart consists of its files, and deploys an image, which has bills of its own.
"""

import hashlib
import json
import sys
import tarfile
from pathlib import Path

import yaml


def sha256(content):
    """Return the hashes of a component."""
    return [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]


def main(package, digest, bill_path):
    with tarfile.open(package) as archive:
        members = [member for member in archive.getmembers() if member.isfile()]
        files = {member.name: archive.extractfile(member).read() for member in members}
    chart = yaml.safe_load(files["invite-sweeper/Chart.yaml"])
    image = yaml.safe_load(files["invite-sweeper/values.yaml"])["image"]
    version = chart["version"]
    components = [
        {"bom-ref": name, "type": "file", "name": name, "hashes": sha256(content)}
        for name, content in sorted(files.items())
    ]
    deployed = {
        "bom-ref": "image",
        "type": "container",
        "name": image["repository"],
        "version": chart["appVersion"],
        "purl": f"pkg:oci/invite-sweeper@{digest.replace(':', '%3A')}",
    }
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "bom-ref": "chart",
                "type": "application",
                "name": "invite-sweeper-chart",
                "version": version,
                "licenses": [{"license": {"id": chart["annotations"]["artifacthub.io/license"]}}],
                "hashes": sha256(Path(package).read_bytes()),
            }
        },
        "components": [*components, deployed],
        "dependencies": [{"ref": "chart", "dependsOn": ["image", *sorted(files)]}],
    }
    Path(bill_path).write_text(json.dumps(bill, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
