"""A secret in the wrong variable, or in a file named as the policy, ends every command with 2.

The error names the variable or the file; nothing is sent, and no output and no file has the secret.
"""

import pytest
from running import cli_in

ID = "MONGODB_ATLAS_CLIENT_ID"
SECRET = "MONGODB_ATLAS_CLIENT_SECRET"
PUBLIC = "MONGODB_ATLAS_PUBLIC_API_KEY"
PRIVATE = "MONGODB_ATLAS_PRIVATE_API_KEY"
TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"
CLIENT_SECRET = "mdb_sa_sk_Gq8eT0xWn-2v.Yp7~Kd5Gq8eT0xWn"
CLIENT_ID = "mdb_sa_id_" + "1" * 24
PRIVATE_KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"
JWT = "eyJhbGciOiJFUzUxMiJ9.eyJjaWQiOiJtZGIifQ.Zx9-Qw_8Zx9-Qw_8"
OTHER = "a-secret-of-no-known-form-0123"
WITH_SLASHES = "c2VjcmV0/dG9rZW4rdmFs/dWU5MDEyMzQ1Njc4OQ=="
COMMANDS = {
    "sweep": ("sweep", "--policy", "policy.yaml"),
    "sweep of JSON": ("sweep", "--policy", "policy.yaml", "--output", "json", "-v"),
    "plan": ("plan", "policy.yaml"),
    "validate": ("validate", "policy.yaml"),
    "validate of JSON": ("validate", "policy.yaml", "--output", "json"),
    "doctor": ("doctor", "--policy", "policy.yaml"),
    "explain": ("explain", "--policy", "policy.yaml", "*"),
    "restore": ("restore", "--policy", "policy.yaml"),
    "init": ("init", "new.yaml"),
}
NONE = dict.fromkeys((ID, SECRET, PUBLIC, PRIVATE, TOKEN))
CASES = {
    "client id and secret swapped": (
        {ID: CLIENT_SECRET, SECRET: CLIENT_ID},
        f"{ID} holds a secret",
    ),
    "keys swapped": ({PUBLIC: PRIVATE_KEY, PRIVATE: "abcdefgh"}, f"{PUBLIC} holds a secret"),
    "client secret as public key": (
        {PUBLIC: CLIENT_SECRET, PRIVATE: PRIVATE_KEY},
        f"{PUBLIC} holds a secret",
    ),
    "token as client id": ({ID: JWT, SECRET: CLIENT_SECRET}, f"{ID} holds a secret"),
    "client secret as token": ({TOKEN: CLIENT_SECRET}, f"{TOKEN} holds the secret"),
    "the same secret twice": ({ID: OTHER, SECRET: OTHER}, f"{ID} holds a secret"),
    "another set": (
        {TOKEN: JWT, f"{ID}_SANDBOX": CLIENT_SECRET},
        f"{ID}_SANDBOX holds a secret",
    ),
    "client secret as a file": (
        {ID: CLIENT_ID, f"{SECRET}_FILE": CLIENT_SECRET},
        f"{SECRET}_FILE does not name a file",
    ),
    "any secret as a file": ({f"{TOKEN}_FILE": OTHER}, f"{TOKEN}_FILE does not name a file"),
    "a token with slashes as a file": (
        {f"{TOKEN}_FILE": WITH_SLASHES},
        f"{TOKEN}_FILE does not name a file",
    ),
    "a token that begins with a slash as a file": (
        {f"{TOKEN}_FILE": f"/{WITH_SLASHES}"},
        f"{TOKEN}_FILE does not name a file",
    ),
    "client secret in a folder as a file": (
        {ID: CLIENT_ID, f"{SECRET}_FILE": f"/tmp/{CLIENT_SECRET}"},
        f"{SECRET}_FILE does not name a file",
    ),
    "id file with a secret": ({f"{ID}_FILE": "./secret.mounted"}, f"{ID}_FILE holds a secret"),
}
SECRETS = (CLIENT_SECRET, PRIVATE_KEY, JWT, OTHER, WITH_SLASHES)


@pytest.fixture
def cli(tmp_path):
    with cli_in(tmp_path, kind="token") as found:
        found.stock(stale=1)
        (tmp_path / "secret.mounted").write_text(f"{CLIENT_SECRET}\n", encoding="utf-8")
        yield found


def assert_refused(cli, done, named, secrets=SECRETS):
    assert done.code == 2, done
    assert named in f"{done.err}{done.out}"
    assert not cli.sim.requests
    kept = {"policy.yaml", "secret.mounted", "token"}
    files = (each for each in cli.folder.rglob("*") if each.is_file() and each.name not in kept)
    written = [done.out, done.err, *(path.read_text("utf-8", "replace") for path in files)]
    assert not [each for each in secrets if any(each in text for text in written)]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("case", CASES)
def test_secret_in_the_wrong_variable_is_wrong_usage_that_names_the_variable(cli, case, words):
    changes, named = CASES[case]
    assert_refused(cli, cli.run(*words, **{**NONE, **changes}), named)


OF_A_POLICY = pytest.mark.parametrize("name", [each for each in COMMANDS if each != "init"])


@OF_A_POLICY
def test_file_of_a_token_named_as_the_policy_is_described_by_its_type_alone(cli, name):
    (cli.folder / "token").write_text(f"{OTHER}\n", encoding="utf-8")
    words = [word.replace("policy.yaml", "token") for word in COMMANDS[name]]
    assert_refused(cli, cli.run(*words), "is a string, not a mapping")


@OF_A_POLICY
@pytest.mark.parametrize("holder", ["token", "receiver"])
def test_policy_that_holds_a_known_secret_is_wrong_usage_that_names_its_line(cli, name, holder):
    known = cli.account.secret
    if holder == "receiver":
        known = "https://hooks.example.com/services/T0/B0123456789abcdefgh"
        cli.keys["notify"] = [{"kind": "slack", "url_env": "SLACK_URL"}]
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@b.example.com"], "reason": known}]
    done = cli.run(*COMMANDS[name], SLACK_URL=known)
    assert_refused(cli, done, "contains a secret of the environment in line", (known,))


def test_client_id_and_public_key_are_shown(tmp_path):
    for kind in ("service-account", "api-key"):
        (tmp_path / kind).mkdir()
        with cli_in(tmp_path / kind, kind=kind) as cli:
            cli.stock(stale=1)
            assert cli.sweep().code == 0
            (started,) = cli.lines("run_started")
            assert cli.account.name in str(started)
