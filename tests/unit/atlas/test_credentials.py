import pickle
from pathlib import Path

import pytest

from invite_sweeper.atlas.credentials import (
    ApiKey,
    BearerToken,
    Secret,
    ServiceAccount,
    read_credentials,
)
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import UsageError

ID, SECRET = "MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"
PUBLIC, PRIVATE = "MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY"
TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"


def no_files(path):
    raise AssertionError(path)


def error_of(environment, read_file=no_files, **options):
    with pytest.raises(UsageError) as caught:
        read_credentials(environment, read_file, **options)
    assert caught.value.exit_code is ExitCode.USAGE
    return str(caught.value)


def test_service_account_is_read_from_its_two_variables():
    found = read_credentials({ID: "mdb_sa_id_1", SECRET: "s3cret"}, no_files)

    assert isinstance(found, ServiceAccount)
    assert (found.client_id, found.client_secret.get_secret_value()) == ("mdb_sa_id_1", "s3cret")
    assert found.actor == "mdb_sa_id_1"


def test_api_key_is_read_from_its_two_variables():
    found = read_credentials({PUBLIC: "abcdefgh", PRIVATE: "s3cret"}, no_files)

    assert isinstance(found, ApiKey)
    assert (found.public_key, found.private_key.get_secret_value()) == ("abcdefgh", "s3cret")
    assert found.actor == "abcdefgh"


def test_access_token_is_recorded_as_token():
    found = read_credentials({TOKEN: "s3cret"}, no_files)

    assert isinstance(found, BearerToken)
    assert (found.token.get_secret_value(), found.actor) == ("s3cret", "token")


def test_suffix_selects_the_variables_of_one_organization(tmp_path):
    mounted = tmp_path / "secret"
    mounted.write_text("s3cret\n", encoding="utf-8")
    environment = {
        ID: "of another organization",
        f"{ID}_SANDBOX": "mdb_sa_id_2",
        f"{SECRET}_SANDBOX_FILE": str(mounted),
    }

    found = read_credentials(environment, Path.read_bytes, suffix="SANDBOX")

    assert isinstance(found, ServiceAccount)
    assert (found.client_id, found.client_secret.get_secret_value()) == ("mdb_sa_id_2", "s3cret")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_newline_at_the_end_of_a_file_is_removed(tmp_path, end):
    mounted = tmp_path / "token"
    mounted.write_bytes(b"s3cret" + end.encode())

    found = read_credentials({f"{TOKEN}_FILE": str(mounted)}, Path.read_bytes)

    assert found.token.get_secret_value() == "s3cret"


def test_empty_variable_counts_as_not_set():
    found = read_credentials({ID: "", SECRET: "", f"{TOKEN}_FILE": "", TOKEN: "s3cret"}, no_files)

    assert isinstance(found, BearerToken)


def test_error_without_credentials_names_all_three_kinds():
    message = error_of({"PATH": "/bin"})

    assert all(name in message for name in (ID, SECRET, PUBLIC, PRIVATE, TOKEN, "_FILE"))


@pytest.mark.parametrize(
    ("present", "missing"), [(ID, SECRET), (SECRET, ID), (PUBLIC, PRIVATE), (PRIVATE, PUBLIC)]
)
def test_error_for_half_a_pair_names_both_variables_and_no_value(present, missing):
    message = error_of({present: "s3cret"})

    assert present in message
    assert missing in message
    assert "s3cret" not in message


def test_error_for_two_kinds_names_every_variable_that_is_set_and_no_value():
    message = error_of({ID: "s3cret", SECRET: "s3cret", TOKEN: "s3cret"})

    assert all(name in message for name in (ID, SECRET, TOKEN))
    assert "s3cret" not in message


def test_half_of_another_kind_counts_as_two_kinds():
    assert PUBLIC in error_of({TOKEN: "s3cret", PUBLIC: "abcdefgh"})


def test_variable_and_its_file_cannot_both_be_set():
    message = error_of({TOKEN: "s3cret", f"{TOKEN}_FILE": "/run/secrets/token"})

    assert TOKEN in message
    assert f"{TOKEN}_FILE" in message


def test_error_for_a_missing_file_names_it_and_its_variable(tmp_path):
    message = error_of({f"{TOKEN}_FILE": str(tmp_path / "missing")}, Path.read_bytes)

    assert f"{TOKEN}_FILE" in message
    assert str(tmp_path / "missing") in message
    assert "No such file" in message
    assert "Name a file that exists and that this user may read" in message


def test_read_error_without_a_reason_names_the_file():
    def read_file(path):
        raise OSError

    assert "/run/token" in error_of({f"{TOKEN}_FILE": "/run/token"}, read_file)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 16385])
def test_empty_binary_or_16385_byte_file_is_rejected_without_showing_it(content):
    message = error_of({f"{TOKEN}_FILE": "/run/token"}, lambda path: content)

    assert "/run/token" in message
    assert "xx" not in message


def test_file_of_16384_bytes_is_read():
    found = read_credentials({f"{TOKEN}_FILE": "/run/token"}, lambda path: b"x" * 16384)

    assert len(found.token.get_secret_value()) == 16384


@pytest.mark.parametrize(
    "value",
    [
        "s3 cret",
        "s3cret\n",
        "s3cret\nX-Evil: 1",
        "\ts3cret",
        "s3\x00cret",
        "s3cret\u2028",
        "\u00a0s3cret",
    ],
)
def test_secret_with_a_space_or_control_character_is_rejected_and_not_shown(value):
    message = error_of({TOKEN: value})

    assert TOKEN in message
    assert "s3cret" not in message


def test_file_with_a_second_line_is_rejected():
    assert "line break" in error_of({f"{TOKEN}_FILE": "/run/token"}, lambda path: b"s3cret\nmore\n")


@pytest.mark.parametrize(
    ("name", "other"), [(ID, SECRET), (PUBLIC, PRIVATE)], ids=["client id", "public key"]
)
def test_colon_in_a_client_id_or_public_key_is_rejected(name, other):
    assert "colon" in error_of({name: "a:b", other: "s3cret"})


def test_error_for_a_client_id_set_as_public_key_names_the_right_variable():
    message = error_of({PUBLIC: "mdb_sa_id_1", PRIVATE: "s3cret"})

    assert ID in message


def test_secret_is_not_in_any_text_and_cannot_be_pickled():
    secret = Secret("s3cret")
    account = ServiceAccount("id", secret)

    assert "s3cret" not in f"{secret} {secret!r} {account} {account!r} {vars(type(secret))}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
