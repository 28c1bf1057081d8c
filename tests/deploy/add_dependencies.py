"""Add the dependencies of Python packages to a bill of materials of syft.

add_dependencies.py BILL SYFT: BILL is CycloneDX and is changed, SYFT has syft's own form of the
same scan. syft lists what each package requires, but draws no edges from it.
"""

import json
import re
import sys
from pathlib import Path


def canonical(requirement):
    """Return the normalized name of a requirement (PEP 503)."""
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name is not None else ""


def main(bill_path, syft_path):
    bill = json.loads(Path(bill_path).read_text(encoding="utf-8"))
    scan = json.loads(Path(syft_path).read_text(encoding="utf-8"))
    packages = [each for each in scan["artifacts"] if each["type"] == "python"]
    references = {
        each["bom-ref"].rpartition("package-id=")[2]: each["bom-ref"] for each in bill["components"]
    }
    by_name = {canonical(each["name"]): references[each["id"]] for each in packages}
    for package in packages:
        required = package["metadata"].get("requiresDist") or []
        names = {canonical(each) for each in required if "extra ==" not in each}
        needed = sorted(by_name[name] for name in names & by_name.keys())
        if needed:
            bill.setdefault("dependencies", []).append(
                {"ref": references[package["id"]], "dependsOn": needed}
            )
    Path(bill_path).write_text(json.dumps(bill, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
