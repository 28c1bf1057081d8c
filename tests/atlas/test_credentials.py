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
from invite_sweeper.errors import ExitCode, UsageError

ID, SECRET = "MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"
PUBLIC, PRIVATE = "MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY"
TOKEN = "MONGODB_ATLAS_ACCESS_TOKEN"


def no_files(path):
    raise AssertionError(path)


def fault_of(environment, read_file=no_files, **options):
    with pytest.raises(UsageError) as caught:
        read_credentials(environment, read_file, **options)
    assert caught.value.exit_code is ExitCode.USAGE
    return str(caught.value)


def test_a_service_account_is_read_from_its_two_variables():
    found = read_credentials({ID: "mdb_sa_id_1", SECRET: "hush"}, no_files)

    assert isinstance(found, ServiceAccount)
    assert (found.client_id, found.client_secret.get_secret_value()) == ("mdb_sa_id_1", "hush")
    assert found.actor == "mdb_sa_id_1"


def test_an_api_key_is_read_from_its_two_variables():
    found = read_credentials({PUBLIC: "abcdefgh", PRIVATE: "hush"}, no_files)

    assert isinstance(found, ApiKey)
    assert (found.public_key, found.private_key.get_secret_value()) == ("abcdefgh", "hush")
    assert found.actor == "abcdefgh"


def test_a_ready_token_has_no_name_but_token():
    found = read_credentials({TOKEN: "hush"}, no_files)

    assert isinstance(found, BearerToken)
    assert (found.token.get_secret_value(), found.actor) == ("hush", "token")


def test_a_suffix_chooses_the_variables_of_one_organization(tmp_path):
    mounted = tmp_path / "secret"
    mounted.write_text("hush\n")
    environment = {
        ID: "of another organization",
        f"{ID}_SANDBOX": "mdb_sa_id_2",
        f"{SECRET}_SANDBOX_FILE": str(mounted),
    }

    found = read_credentials(environment, Path.read_bytes, suffix="SANDBOX")

    assert isinstance(found, ServiceAccount)
    assert (found.client_id, found.client_secret.get_secret_value()) == ("mdb_sa_id_2", "hush")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_line_end_of_a_mounted_file_is_not_part_of_the_secret(tmp_path, end):
    mounted = tmp_path / "token"
    mounted.write_bytes(b"hush" + end.encode())

    found = read_credentials({f"{TOKEN}_FILE": str(mounted)}, Path.read_bytes)

    assert found.token.get_secret_value() == "hush"


def test_an_empty_variable_is_as_if_it_were_not_set():
    found = read_credentials({ID: "", SECRET: "", f"{TOKEN}_FILE": "", TOKEN: "hush"}, no_files)

    assert isinstance(found, BearerToken)


def test_no_credentials_names_all_three_kinds():
    told = fault_of({"PATH": "/bin"})

    assert all(name in told for name in (ID, SECRET, PUBLIC, PRIVATE, TOKEN, "_FILE"))


@pytest.mark.parametrize(
    ("there", "missing"), [(ID, SECRET), (SECRET, ID), (PUBLIC, PRIVATE), (PRIVATE, PUBLIC)]
)
def test_half_a_pair_names_both_halves_and_shows_no_value(there, missing):
    told = fault_of({there: "hush-hush"})

    assert there in told
    assert missing in told
    assert "hush-hush" not in told


def test_two_kinds_at_once_name_every_variable_that_is_set():
    told = fault_of({ID: "hush", SECRET: "hush", TOKEN: "hush"})

    assert all(name in told for name in (ID, SECRET, TOKEN))
    assert "hush" not in told


def test_one_half_of_another_kind_is_two_kinds():
    assert PUBLIC in fault_of({TOKEN: "hush", PUBLIC: "abcdefgh"})


def test_a_variable_and_its_file_are_not_both_taken():
    told = fault_of({TOKEN: "hush", f"{TOKEN}_FILE": "/run/secrets/token"})

    assert TOKEN in told
    assert f"{TOKEN}_FILE" in told


def test_a_file_that_is_not_there_is_named_with_its_variable(tmp_path):
    told = fault_of({f"{TOKEN}_FILE": str(tmp_path / "nowhere")}, Path.read_bytes)

    assert f"{TOKEN}_FILE" in told
    assert str(tmp_path / "nowhere") in told
    assert "No such file" in told
    assert "Name a file that exists and that this user may read" in told


def test_a_failure_without_a_reason_still_says_which_file():
    def read_file(path):
        raise OSError

    assert "/run/token" in fault_of({f"{TOKEN}_FILE": "/run/token"}, read_file)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 16385])
def test_a_file_that_can_hold_no_secret_is_refused_without_its_bytes(content):
    told = fault_of({f"{TOKEN}_FILE": "/run/token"}, lambda path: content)

    assert "/run/token" in told
    assert "xx" not in told


def test_a_file_of_exactly_the_most_bytes_is_read():
    found = read_credentials({f"{TOKEN}_FILE": "/run/token"}, lambda path: b"x" * 16384)

    assert len(found.token.get_secret_value()) == 16384


@pytest.mark.parametrize(
    "value",
    ["hu sh", "hush\n", "hush\nX-Evil: 1", "\thush", "hu\x00sh", "hush\u2028", "\u00a0hush"],
)
def test_a_secret_that_could_break_a_header_is_refused_and_not_shown(value):
    told = fault_of({TOKEN: value})

    assert TOKEN in told
    assert "hush" not in told


def test_a_second_line_of_a_mounted_file_is_refused():
    assert "line break" in fault_of({f"{TOKEN}_FILE": "/run/token"}, lambda path: b"hush\nmore\n")


@pytest.mark.parametrize(
    ("name", "other"), [(ID, SECRET), (PUBLIC, PRIVATE)], ids=["client id", "public key"]
)
def test_a_colon_would_move_the_border_between_name_and_secret(name, other):
    assert "colon" in fault_of({name: "a:b", other: "hush"})


def test_a_service_accounts_id_in_the_place_of_a_key_says_where_it_belongs():
    told = fault_of({PUBLIC: "mdb_sa_id_1", PRIVATE: "hush"})

    assert ID in told


def test_a_secret_shows_itself_nowhere():
    secret = Secret("hush")
    account = ServiceAccount("id", secret)

    assert "hush" not in f"{secret} {secret!r} {account} {account!r} {vars(type(secret))}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
