#!/bin/bash
# Runs a command in a copy of the repository and in a shell that is set up badly: a folder with a
# space, umask 077, a user other than root, an ignored SIGHUP as under nohup, and variables that
# change Python, the terminal, the network and the program. Without a command it runs a small part
# of the tests.
#
#   bash tests/hostile-shell.sh [COMMAND…]
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/invite sweeper"
cp -a ../shared "$folder" 2>/dev/null || true
git ls-files -z | xargs -0 cp --parents --target-directory "$folder/invite sweeper"

user=()
python=python3
if [ "$(id -u)" = 0 ]; then
    user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    chown -R 65534:65534 "$folder"
    # A Python in root's home folder cannot be used by others.
    "${user[@]}" "$python" --version >/dev/null 2>&1 || python=/usr/bin/python3
fi
export HOME=$folder

cd "$folder/invite sweeper"
umask 077
"${user[@]}" "$python" -m venv .venv
"${user[@]}" .venv/bin/pip install --quiet -e '.[dev]'

if [ $# = 0 ]; then
    set -- .venv/bin/pytest -q tests/test_forked.py tests/commands/test_golden_files.py \
        tests/commands/test_sweep.py tests/commands/test_terminal_output.py \
        tests/commands/test_metrics_and_notifications.py tests/unit/test_text.py \
        tests/commands/test_interrupted.py::test_hangup_ends_a_run_like_sigterm
fi
"${user[@]}" env --ignore-signal=HUP PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONUTF8=0 PYTHONHASHSEED=0 \
    NO_COLOR=1 FORCE_COLOR=1 TZ=Pacific/Kiritimati COLUMNS=40 LC_ALL=C \
    HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 ALL_PROXY=http://127.0.0.1:9 \
    http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 \
    MONGODB_ATLAS_BASE_URL=https://wrong.example.com MONGODB_ATLAS_CLIENT_ID=wrong \
    MONGODB_ATLAS_ACCESS_TOKEN=wrong INVITE_SWEEPER_POLICY=wrong.yaml "$@"
