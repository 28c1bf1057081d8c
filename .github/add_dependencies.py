"""Add to a bill of materials of syft what it leaves out of Python packages.

add_dependencies.py BILL SYFT LOCK PACKAGES: BILL is CycloneDX and is changed, SYFT has syft's own
form of the same scan, LOCK is requirements.lock, PACKAGES the folder where they are installed.
Added are dependencies (syft lists what each package requires, but draws no edges from it), licences
that a package declares by its classifiers alone, and the hashes of the locked files.
"""

import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

LICENCES = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""SPDX identifiers by classifier; all BSD licences among the locked packages have three clauses."""
LOCKED = re.compile(
    r"^([\w.-]+)==(\S+) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)


def canonical(requirement):
    """Return the normalized name of a requirement (PEP 503)."""
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name is not None else ""


def add_licences(components, folder):
    """Add the licence of each component that has none, by the classifiers of its package."""
    for package in distributions(path=[folder]):
        found = {
            LICENCES[each]
            for each in package.metadata.get_all("Classifier", [])
            if each in LICENCES
        }
        component = components.get(canonical(package.name))
        if found and component is not None and not component.get("licenses"):
            component["licenses"] = [{"license": {"id": each}} for each in sorted(found)]


def add_hashes(components, lock):
    """Add a reference for each file that the lock allows for a component of its version."""
    for name, version, hashes in LOCKED.findall(lock):
        component = components.get(canonical(name))
        if component is not None and component["version"] == version:
            component["externalReferences"] = [
                {
                    "type": "distribution",
                    "url": f"pkg:pypi/{canonical(name)}@{version}",
                    "hashes": [{"alg": "SHA-256", "content": each}],
                }
                for each in re.findall(r"[0-9a-f]{64}", hashes)
            ]


def main(bill_path, syft_path, lock, folder):
    bill = json.loads(Path(bill_path).read_text(encoding="utf-8"))
    scan = json.loads(Path(syft_path).read_text(encoding="utf-8"))
    packages = [each for each in scan["artifacts"] if each["type"] == "python"]
    by_id = {each["bom-ref"].rpartition("package-id=")[2]: each for each in bill["components"]}
    components = {canonical(each["name"]): by_id[each["id"]] for each in packages}
    for package in packages:
        required = package["metadata"].get("requiresDist") or []
        names = {canonical(each) for each in required if "extra ==" not in each}
        needed = sorted(components[name]["bom-ref"] for name in names & components.keys())
        if needed:
            bill.setdefault("dependencies", []).append(
                {"ref": by_id[package["id"]]["bom-ref"], "dependsOn": needed}
            )
    add_licences(components, folder)
    add_hashes(components, Path(lock).read_text(encoding="utf-8"))
    Path(bill_path).write_text(json.dumps(bill, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
