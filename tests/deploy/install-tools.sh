#!/bin/bash
# Installs the commands that the tests of deploy/ need, on Debian 13 as root with Python 3.11 or
# newer.
#
# Debian packages are installed in the system, everything else below build/deploy-tools, where
# the tests find it. With INVITE_SWEEPER_REQUIRE_TOOLS=1 the tests fail instead of being
# skipped if a command is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$PWD/build/deploy-tools

debian=(podman buildah runc conmon netavark catatonit mmdebstrap kustomize systemd git)
debian+=(oras docker-registry shellcheck)
if ! dpkg --status "${debian[@]}" >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${debian[@]}" >/dev/null
fi

# Two environments: what builds a release is locked.
install() {
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet uv==0.13.9
    "$folder/$1/bin/uv" pip install --quiet --python "$folder/$1/bin/python" --group "$@"
}
install deploy-checks
install release --constraint .github/release.lock

mkdir -p "$folder/commands"
ln -sf "$folder"/deploy-checks/bin/{actionlint,check-jsonschema,checkov,hadolint} \
    "$folder"/deploy-checks/bin/{kubernetes-validate,pre-commit,uv,zizmor} \
    "$folder"/release/bin/{hatchling,pyproject-build,syft} "$folder/commands"
if [ ! -x "$folder/commands/helm" ]; then
    "$folder/release/bin/python" tests/deploy/fetch_helm.py "$folder/commands"
fi

# Models of custom resources: Prometheus operator, External Secrets, Argo CD.
if command -v npm >/dev/null; then
    npm install --silent --no-fund --no-audit --no-save --ignore-scripts --prefix "$folder/node" \
        @kubernetes-models/{argo-cd@4.0.0,external-secrets@2.0.0,prometheus-operator@6.0.0}
    printf '#!/bin/sh\nexec node "%s" "%s"\n' "$PWD/tests/deploy/check-custom-resources.mjs" \
        "$folder/node" >"$folder/commands/check-custom-resources"
    chmod 755 "$folder/commands/check-custom-resources"
fi
