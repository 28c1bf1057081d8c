"""An entry that can never match is an error with its fix; one for everything is a warning."""

import pytest

ID = "5efda682a3f2ed2e7dd6cde4"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("ada", 'is not an address and has no wildcard; write "ada@*", or the whole address'),
        ("example.com", 'has no wildcard; write "*@example.com", or the whole address'),
        ("@gmail.com", 'starts with `@`, and an address never does; write "*@gmail.com"'),
        ("@", "starts with `@`, and an address never does; "),
        ("a@x.com,b@x.com", "contains `,`; write each address as its own entry"),
        ("a@x.com;b@x.com", "contains `;`; write each address as its own entry"),
        ("^ada$", 'has no wildcard; write "ada"'),
        ("*@{a,b}.com", 'contains `,`; write "*@a.com" and "*@b.com", each as its own entry'),
        ("[a-z]{2,}@x.com", 'contains `,`; write "[a-z]*@x.com"'),
        (
            "a@x.com b@x.com",
            "contains white space; remove it, or write each",
        ),
        (
            "a\u00a0b@x.com",
            "contains white space; remove it, or write each",
        ),
        ("Ada <ada@x.com>", 'contains `<`; write "ada@x.com"'),
        ("*@x.com # board", 'contains `#`; write "*@x.com"'),
        ("*@x.com#board", 'contains `#`; write "*@x.com"'),
        ("mailto:ada@x.com", 'starts with `mailto:`; write "ada@x.com"'),
        ("MAILTO:*@x.com", 'starts with `mailto:`; write "*@x.com"'),
    ],
)
@pytest.mark.parametrize("where", ["rules", "keep"])
def test_username_that_no_address_matches_is_an_error(where, entry, message, errors_of):
    lists = {"rules": "{name: a, older_than: 14d}", "keep": "{name: k, expired: true}"}
    lists[where] = lists[where].replace("}", f', usernames: ["{entry}"]}}')
    text = f"version: 1\norganizations: ['{ID}']\n"
    (error,) = errors_of(text + "".join(f"{key}: [{one}]\n" for key, one in lists.items()))
    assert f"{where}[0].usernames[0]: the string `" in error
    assert message in error


@pytest.mark.parametrize(
    "entry", ["*", "?", "[a-z]*", "ada@x.com", "*@x.com", "a@*", "ada*", "*x.com", "*@", "o'b+1@x"]
)
def test_username_that_an_address_may_match_is_allowed(entry, errors_of_rule):
    assert errors_of_rule(f'name: a, older_than: 14d, usernames: ["{entry}"]') == []


@pytest.mark.parametrize("inviter", ["nmtxqlkl", "mdb_sa_id_5efda682a3f2ed2e7dd6cde4", "a@x.com"])
def test_inviter_may_be_a_public_key_or_a_client_id(inviter, errors_of_rule):
    assert errors_of_rule(f"name: a, older_than: 14d, inviters: [{inviter}]") == []


@pytest.mark.parametrize("key", ["include", "exclude"])
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "!prod-*",
            "write `prod-*`, under `include` to read it or under `exclude` to skip it",
        ),
        ("prod/", "ends with `/`, and no project's name does; write `prod`"),
        (ID[:20], "has 20 hex digits; an id has 24"),
        (ID[:23], "has 23 hex digits; an id has 24"),
        (f"{ID}0", "has 25 hex digits; an id has 24"),
        (f"{ID}0000".upper(), "has 28 hex digits; an id has 24"),
    ],
)
def test_project_that_no_name_and_no_id_equals_is_an_error(key, entry, message, errors_after_head):
    (error,) = errors_after_head(f"projects: {{{key}: ['{entry}']}}\n")
    assert f": projects.{key}[0]: the string `" in error
    assert message in error


def test_projects_of_a_rule_are_checked_as_the_scope_is(errors_of_rule):
    errors = errors_of_rule(f"name: a, older_than: 1d, projects: ['!x', 'y/', '{ID[1:]}']")
    assert [error.split(": ", 3)[1] for error in errors] == [
        f"rules[0].projects[{number}]" for number in range(3)
    ]


@pytest.mark.parametrize(
    "entry", [ID, ID.upper(), "a" * 19, "a" * 29, "[!a]*", "a/b", "deadbeef-*"]
)
def test_project_that_may_exist_is_allowed(entry, errors_after_head):
    assert errors_after_head(f"projects: {{exclude: ['{entry}']}}\n") == []


@pytest.mark.parametrize("value", ["1:0", "14:30", "1:0:0", "-1:30", "190:20:30.15", "1:30.5"])
def test_number_in_base_60_is_an_error_unless_it_is_quoted(value, errors_after_head):
    (error,) = errors_after_head(f"limits: {{max_deletions: {value}}}\n")
    assert error == (
        f"4:25: limits.max_deletions: `{value}` is read as a number in base 60; "
        "write it without colons, or quote it if it is a string"
    )
    assert errors_after_head(f"projects: {{exclude: ['{value}']}}\n") == []


@pytest.mark.parametrize("path", ["~/log.jsonl", "~ada/log.jsonl", "~.jsonl"])
def test_path_that_begins_with_a_tilde_is_an_error(path, errors_after_head):
    (error,) = errors_after_head(f"audit: {{path: '{path}'}}\n")
    assert f"audit.path: the string `{path}` begins with `~`, which is not expanded; " in error
    assert "write the whole path, such as `/var/log/invite-sweeper/log.jsonl`" in error


def test_path_with_a_tilde_inside_is_allowed(errors_after_head):
    assert errors_after_head("audit: {path: './~/b.jsonl'}\n") == []


@pytest.mark.parametrize("age", ["59m", "6m", "90s", "PT59M59S"])
def test_age_under_one_hour_is_a_warning_that_names_minutes(age, warnings_of):
    (warning,) = warnings_of(f"keep: [{{name: k, older_than: {age}}}]\n")
    assert warning == (
        "`older_than` of the keep entry `k` is under one hour: `m` are minutes and `s` seconds. "
        "Write days or hours, such as `14d` or `12h`."
    )


def test_age_of_one_hour_is_no_warning(warnings_of):
    assert warnings_of("keep: [{name: k, older_than: 1h}]\n") == []


@pytest.mark.parametrize(
    "entry", ["usernames: ['*']", "projects: ['**', x]", "inviters: ['*@*'], usernames: ['*@*']"]
)
def test_keep_entry_for_everything_is_a_warning(entry, warnings_of):
    (warning,) = warnings_of(f"keep: [{{name: all, {entry}}}]\n")
    assert warning.startswith("The keep entry `all` keeps every invitation, so nothing is deleted.")


@pytest.mark.parametrize(
    "entry", ["usernames: ['*@x.com']", "usernames: ['*'], roles: [GROUP_OWNER]", "expired: false"]
)
def test_keep_entry_for_some_is_no_warning(entry, warnings_of):
    assert warnings_of(f"keep: [{{name: some, {entry}}}]\n") == []


@pytest.mark.parametrize("sources", ["invites", "users", "invites, users"])
def test_role_of_an_organization_is_a_warning_where_only_lists_of_projects_are_read(
    sources, warnings_of
):
    text = f"sources: [{sources}]\nkeep: [{{name: k, roles: [GROUP_OWNER, ORG_OWNER]}}]\n"
    (found,) = [each for each in warnings_of(text) if "ORG_OWNER" in each]
    assert found == (
        "`ORG_OWNER` in the keep entry `k` never matches: the lists of projects show roles in the "
        "project alone. Read `org_users` too, or remove the role."
    )


def test_roles_of_projects_and_organizations_are_fine_where_lists_of_organizations_are_read(
    warnings_of,
):
    for sources in ("org_users", "invites, org_invites"):
        text = f"sources: [{sources}]\nkeep: [{{name: k, roles: [GROUP_OWNER, ORG_OWNER]}}]\n"
        assert not [each for each in warnings_of(text) if "_OWNER" in each]
