"""Credentials of the environment: exactly one kind, and no error that shows a value."""

import pytest
from reviewed import assert_reviewed

from invite_sweeper.atlas.credentials import (
    Credentials,
    CredentialsKind,
    Secret,
    read_credentials,
    register_credentials,
)
from invite_sweeper.errors import UsageError
from invite_sweeper.redaction import SECRETS

ID = "MONGODB_ATLAS_CLIENT_ID"
SECRET = "MONGODB_ATLAS_CLIENT_SECRET"
PUBLIC = "MONGODB_ATLAS_PUBLIC_API_KEY"
PRIVATE = "MONGODB_ATLAS_PRIVATE_API_KEY"
TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"
MOUNTED = "/run/secrets/value"


@pytest.fixture
def read(monkeypatch):
    """Read credentials; the file MOUNTED has this content, and no other one is read."""

    def read(environment, content=None, **options):
        def read_file(path, _most):
            assert str(path) == MOUNTED
            if isinstance(content, OSError):
                raise content
            return content

        monkeypatch.setattr("invite_sweeper.atlas.credentials.read_small_file", read_file)
        return read_credentials(environment, **options)

    return read


ACCOUNT, API_KEY, READY = CredentialsKind


@pytest.mark.parametrize(
    ("environment", "kind", "actor"),
    [
        ({ID: "mdb_sa_id_1", SECRET: "s3cret"}, ACCOUNT, "mdb_sa_id_1"),
        ({PUBLIC: "abcdefgh", PRIVATE: "s3cret"}, API_KEY, "abcdefgh"),
        ({TOKEN: "s3cret"}, READY, "token"),
        ({ID: "", SECRET: "", f"{TOKEN}_FILE": "", TOKEN: "s3cret"}, READY, "token"),
        ({f"{TOKEN}_FILE": MOUNTED}, READY, "token"),
    ],
)
@pytest.mark.parametrize("content", [b"s3cret\n", b"s3cret\r\n"])
def test_credentials_of_one_kind_are_read_from_variables_or_a_mounted_file(
    read, environment, content, kind, actor
):
    suffixed = {f"{name}_SANDBOX": value for name, value in environment.items()}
    suffixed = {name.replace("_FILE_SANDBOX", "_SANDBOX_FILE"): v for name, v in suffixed.items()}
    for found in (
        read(environment, content),
        read({PUBLIC: "of another", **suffixed}, content, suffix="SANDBOX"),
    ):
        assert (found.kind, found.actor) == (kind, actor)
        assert found.secret.value == "s3cret"


TOKENS = ("s3 cret s3cret", "s3cret\nX-Evil: 1", "s3cret\x00", "s3cret\u2028", "\u00a0s3cret")
FILES = (b"\n", b"\xff\xfe", b"s3cret\nmore\n", OSError(), FileNotFoundError(2, "No such file"))
ERRORS = (
    ({"PATH": "/bin"}, None),
    *(({name: "s3cret"}, None) for name in (ID, SECRET, PUBLIC, PRIVATE)),
    ({ID: "s3cret", SECRET: "s3cret", TOKEN: "s3cret"}, None),
    ({TOKEN: "s3cret", PUBLIC: "s3cret"}, None),
    ({f"{ID}_FILE": MOUNTED}, b"s3cret"),
    ({TOKEN: "s3cret", f"{TOKEN}_FILE": "/f"}, None),
    ({ID: "s3cret:b", SECRET: "s3cret"}, None),
    ({PUBLIC: "s3cret:b", PRIVATE: "s3cret"}, None),
    ({PUBLIC: "mdb_sa_id_1", PRIVATE: "s3cret"}, None),
    *(({TOKEN: value}, None) for value in TOKENS),
    *(({f"{TOKEN}_FILE": MOUNTED}, content) for content in FILES),
)


def test_error_is_as_it_was_reviewed_and_shows_no_value(read):
    text = ""
    for environment, content in ERRORS:
        with pytest.raises(UsageError) as caught:
            read(environment, content)
        assert "s3cret" not in str(caught.value)
        held = f"{environment}, {content!r}".replace("s3cret", "SECRET")
        text += f"{held}\n    {caught.value}\n"
    assert_reviewed(text, __file__, "credentials.txt")


def test_file_larger_than_16384_bytes_is_not_read(tmp_path):
    mounted = tmp_path / "token"
    mounted.write_bytes(b"x" * 16385)
    with pytest.raises(UsageError, match="larger than 16 KiB"):
        read_credentials({f"{TOKEN}_FILE": str(mounted)})


def test_secret_is_not_in_any_text():
    secret = Secret("s3cret")
    account = Credentials(CredentialsKind.SERVICE_ACCOUNT, "id", secret)
    assert "s3cret" not in f"{secret} {secret!r} {account} {account!r} {vars(type(secret))}"


CLIENT_ID = "mdb_sa_id_" + "1" * 24
CLIENT_SECRET = "mdb_sa_sk_Gq8eT0xWn-2v.Yp7~Kd5Gq8eT0xWn"
PRIVATE_KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"
JWT = "eyJhbGciOiJFUzUxMiJ9.eyJjaWQiOiJtZGIifQ.Zx9-Qw_8Zx9-Qw_8"
OTHER = "a-secret-of-no-known-form-0123"
SLASHES = "c2VjcmV0/dG9rZW4rdmFs/dWU5MDEyMzQ1Njc4OQ=="
MISPLACED = {
    "client id and secret swapped": ({ID: CLIENT_SECRET, SECRET: CLIENT_ID}, f"{ID} holds a s"),
    "keys swapped": ({PUBLIC: PRIVATE_KEY, PRIVATE: "abcdefgh"}, f"{PUBLIC} holds a secret"),
    "client secret as a key": ({PUBLIC: CLIENT_SECRET, PRIVATE: OTHER}, f"{PUBLIC} holds a secret"),
    "token as client id": ({ID: JWT, SECRET: CLIENT_SECRET}, f"{ID} holds a secret"),
    "client secret as token": ({TOKEN: CLIENT_SECRET}, f"{TOKEN} holds the secret"),
    "the same secret twice": ({ID: OTHER, SECRET: OTHER}, f"{ID} holds a secret"),
    "another set": ({TOKEN: JWT, f"{ID}_B": CLIENT_SECRET}, f"{ID}_B holds a secret"),
    "id file with a secret": ({f"{ID}_FILE": "./mounted"}, f"{ID}_FILE holds a secret"),
    **{
        f"{value:.20} as a file": ({f"{TOKEN}_FILE": value}, f"{TOKEN}_FILE does not name a file")
        for value in (CLIENT_SECRET, OTHER, SLASHES, f"/{SLASHES}", f"/tmp/{CLIENT_SECRET}")
    },
}


@pytest.mark.parametrize("name", MISPLACED)
def test_secret_in_a_wrong_variable_is_named_by_that_and_is_known_from_then_on(
    tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mounted").write_text(f"{CLIENT_SECRET}\n", encoding="utf-8")
    environment, named = MISPLACED[name]
    with pytest.raises(UsageError) as caught:
        register_credentials(environment)
    assert named in caught.value.message
    secrets = {CLIENT_SECRET, PRIVATE_KEY, JWT, OTHER, SLASHES}
    held = {*environment.values(), CLIENT_SECRET if "mounted" in str(environment) else ""}
    assert all(SECRETS.knows(each) for each in held if any(one in each for one in secrets))
    assert not [each for each in secrets if each in str(caught.value)]
