"""Every error of a policy has a message, a position and a hint."""

import pytest

from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import InvalidPolicy
from invite_sweeper.policy import parse_policy

ID = "5efda682a3f2ed2e7dd6cde4"

MANY = """\
versoin: 1
organizations: [123456789012345678901234, xx]
rules:
  - name: a
    usernames: "*@x"
    older_than: 14
  - nam: b
limits:
  max_deletions: -1
  max_share: .nan
  <<: {canary: 0}
keep:
audit: {path: *alias}
"""


def test_all_errors_of_a_file_are_listed_in_file_order(errors_of):
    assert [error.split("; ")[0] for error in errors_of(MANY)] == [
        "1:1: version: is missing",
        "1:1: versoin: is not a known key",
        "2:17: organizations[0]: is the number `123456789012345678901234`, not a string",
        "2:43: organizations[1]: the string `xx` is not an organization id",
        "5:16: rules[0].usernames: is the string `*@x`, not a list",
        "6:17: rules[0].older_than: the number `14` has no time unit",
        "7:5: rules[1]: has no time or status condition",
        "7:5: rules[1].nam: is not a known key",
        "7:5: rules[1].name: is missing",
        "9:18: limits.max_deletions: the number `-1` is below 0",
        "10:14: limits.max_share: the number `.nan` is not a finite number",
        "11:3: limits.?: `<<` is read as a merge key, which is not supported",
        "12:1: keep: is empty",
        "13:15: audit.path: `*alias` is an alias, which is not supported",
    ]


def test_invalid_policy_is_a_usage_error_with_the_given_file_name():
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(MANY.encode(), "my/policy.yaml")
    assert caught.value.exit_code is ExitCode.USAGE
    assert all(line.startswith("my/policy.yaml:") for line in caught.value.lines())
    assert list(caught.value.issues) == sorted(caught.value.issues)


def test_errors_contain_no_words_of_pydantic(errors_of):
    text = "\n".join(errors_of(MANY)).lower()
    for word in (
        "input",
        "valid ",
        "pydantic",
        "validation",
        "extra",
        "permitted",
        "tuple",
        "dict",
    ):
        assert word not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]", "1:1: policy: is a list, not a mapping; write `version: 1`"),
        ("a", "1:1: policy: is the string `a`, not a mapping; write `version: 1`"),
    ],
)
def test_file_that_is_not_a_mapping_is_one_error(text, expected, errors_of):
    assert errors_of(text) == [expected]


def test_file_of_one_alias_is_one_error(errors_of):
    assert len(errors_of("*a")) == 1


@pytest.mark.parametrize("missing", ["version", "organizations", "rules"])
def test_missing_required_key_is_reported_with_an_example(missing, errors_of):
    parts = {
        "version": "version: 1\n",
        "organizations": f"organizations: ['{ID}']\n",
        "rules": "rules: [{name: a, older_than: 14d}]\n",
    }
    (error,) = errors_of("".join(text for key, text in parts.items() if key != missing))
    assert error.startswith(f"1:1: {missing}: is missing; add `{missing}: ")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("2", "the number `2` is not a supported version"),
        ("true", "the boolean `true` is not a supported version"),
        ("1.0", "the number `1.0` is not a supported version"),
        ("'1'", "the string `1` is not a supported version"),
        ("[1]", "a list is not a supported version"),
        ("", "is empty"),
    ],
)
def test_only_the_integer_1_is_a_version(version, message, errors_of):
    (error,) = errors_of(
        f"version: {version}\norganizations: ['{ID}']\nrules: [{{name: a, expired: true}}]\n"
    )
    assert error.endswith(f": version: {message}; write `version: 1`")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("12", '[0]: is the number `12`, not a string; quote it: "12"'),
        (
            "0" * 24,
            f'[0]: is the number `{"0" * 24}`, not a string; quote it: "{"0" * 24}"',
        ),
        (ID.upper(), f"[0]: the string `{ID.upper()}` has upper-case letters; write `{ID}`"),
        (
            ID[1:],
            f"[0]: the string `{ID[1:]}` is not an organization id; write 24 hex digits (0-9, a-f)",
        ),
        (
            ID + "0",
            f"[0]: the string `{ID}0` is not an organization id; write 24 hex digits (0-9, a-f)",
        ),
        (
            f'"{ID}\\n"',
            f"[0]: the string `{ID}\\n` is not an organization id; write 24 hex digits (0-9, a-f)",
        ),
        ("''", "[0]: the string `` is not an organization id; write 24 hex digits (0-9, a-f)"),
        ("~", f'[0]: is empty; write `organizations: ["{ID}"]`'),
        ("[a]", '[0]: is a list, not a string; write `organizations: ["'),
        ("{}", f"[0].id: is missing; add `id: {ID}`"),
        ("{id: 5}", '[0].id: is the number `5`, not a string; quote it: "5"'),
        (f"{{id: {ID}, secret: x}}", "[0].secret: is not a known key; "),
        (
            f"{{id: {ID}, credentials: prod}}",
            "[0].credentials: the value is not a credentials name",
        ),
        (
            f"{{id: {ID}, credentials: ''}}",
            "[0].credentials: the value is not a credentials name",
        ),
        (f"{{id: {ID}, credentials: ~}}", "[0].credentials: is empty; remove it, or write"),
        (f"{ID}, {ID}", f"[1]: repeats `{ID}` of organizations[0]; keep one of the two"),
        (f"{ID}, {{id: {ID}, credentials: A}}", f"[1]: repeats `{ID}` of organizations[0]; "),
    ],
)
def test_organization_is_a_unique_id_of_24_hex_digits(entry, expected, errors_of):
    (error,) = errors_of(
        f"version: 1\norganizations: [{entry}]\nrules: [{{name: a, expired: true}}]\n"
    )
    assert f": organizations{expected}" in error


def test_empty_list_of_organizations_or_rules_is_an_error(errors_of):
    first, second = errors_of("version: 1\norganizations: []\nrules: []\n")
    assert first.startswith(
        "2:16: organizations: is an empty list; write one entry or more, such as "
    )
    assert second.startswith("3:8: rules: is an empty list; write one entry or more, such as ")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("keeps", "write `keep`"),
        ("Rules", "write `rules`"),
        ("protected", "write `project"),
        ("over_limit", "it belongs under `limits`"),
        ("concurrency", "it belongs under `execution`"),
        ("max_deletion", "write `max_deletions` under `limits`"),
        ("q" * 300, "remove it, or write `version`, "),
    ],
)
def test_unknown_key_suggests_a_similar_key_or_the_right_section(key, hint, errors_after_head):
    (error,) = errors_after_head(f"{key}: x\n")
    assert error.startswith("4:1: ")
    assert f": is not a known key; {hint}" in error
    assert len(error) < 250


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (
            "older_then: 14d",
            "rules[0].older_then: is not a known key; write `older_than`",
        ),
        ("limits: {}", "rules[0].limits: is not a known key; it belongs at the top"),
        ("canary: 3", "rules[0].canary: is not a known key; it belongs under `limits`"),
    ],
)
def test_unknown_key_in_a_rule_suggests_a_key(inside, expected, errors_of_rule):
    (error,) = errors_of_rule(f"name: a, older_than: 14d, {inside}")
    assert expected in error


def test_only_the_first_100_unknown_keys_get_suggestions(errors_after_head):
    errors = errors_after_head("".join(f"limit{n}: 1\n" for n in range(103)))
    assert len(errors) == 103
    assert sum(error.endswith("; write `limits`") for error in errors) == 100
    assert sum(error.endswith("; remove it") for error in errors) == 3


def test_list_as_a_tag_value_is_an_error_with_an_example(errors_after_head):
    (error,) = errors_after_head("projects: {tags: {a: [b]}}\n")
    assert error.startswith("4:22: projects.tags.a: is a list, not a string; write `tags: ")


@pytest.mark.parametrize(
    ("inside", "stale"),
    [
        ("older_than: 1s", True),
        ("expired: true", True),
        ("expires_within: 1s", True),
        ("statuses: [PENDING]", True),
        ("expired: false, older_than: 3d", True),
        ("expired: false", False),
        ("usernames: ['*']", False),
        ("usernames: ['*'], inviters: ['*'], roles: [X], projects: ['*'], expired: no", False),
        ("", False),
    ],
)
def test_rule_needs_a_time_or_status_condition(inside, stale, errors_of_rule):
    expected = "has no time or status condition"
    errors = [error.split("; ")[0] for error in errors_of_rule(f"name: a, {inside}")]
    assert errors == ([] if stale else [f"3:9: rules[0]: {expected}"])


def test_invalid_condition_is_one_error(errors_of_rule):
    for inside in ("older_than: 14", "older_than:", "older_than: *x", "statuses: []", "expired: 1"):
        assert len(errors_of_rule(f"name: a, {inside}")) == 1


def test_invalid_fields_do_not_hide_a_missing_condition(errors_of_rule):
    assert len(errors_of_rule("name: 7, usernames: x, expired: false")) == 3


@pytest.mark.parametrize(
    "key", ["usernames", "inviters", "roles", "projects", "statuses", "older_than", "expired"]
)
def test_condition_without_a_value_is_an_error(key, errors_of_rule):
    # `usernames:` above lines that were commented out would match every invitation.
    (error,) = errors_of_rule(f"name: a, expires_within: 1d, {key}: ")
    assert f": rules[0].{key}: is empty; " in error


@pytest.mark.parametrize("key", ["usernames", "inviters", "roles", "projects", "statuses"])
def test_empty_list_in_a_rule_is_an_error(key, errors_of_rule):
    (error,) = errors_of_rule(f"name: a, expired: true, {key}: []")
    assert f"rules[0].{key}: is an empty list; write one entry or more, such as `{key}: [" in error


def test_list_with_invalid_entries_is_not_reported_as_empty(errors_of_rule):
    (error,) = errors_of_rule("name: a, expired: true, usernames: [1]")
    assert error == ('3:46: rules[0].usernames[0]: is the number `1`, not a string; quote it: "1"')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('""', "the string `` is empty; write a value, or remove it"),
        ('"   "', "the string `   ` is empty; write a value, or remove it"),
        ('"a\\nb"', "the string `a\\nb` contains an invisible character; remove it"),
        ('"a\\0b"', "the string `a\\x00b` contains an invisible character; remove it"),
        ('"a\\e[31mb"', "the string `a\\x1b[31mb` contains an invisible character; remove it"),
        ('"a\\u200bb"', "the string `a\\u200bb` contains an invisible character; remove it"),
        ('"a\\u202eb"', "the string `a\\u202eb` contains an invisible character; remove it"),
        ('"a\\u2028b"', "the string `a\\u2028b` contains an invisible character; remove it"),
        ('" a"', "` a` starts or ends with a space; remove the space"),
        ('"a\\u00a0"', "starts or ends with a space; remove the space"),
        ("yes", 'is the boolean `yes`, not a string; quote it: "yes"'),
        ("2027-03-31", 'is the date `2027-03-31`, not a string; quote it: "2027-03-31"'),
        ("1.5", 'is the number `1.5`, not a string; quote it: "1.5"'),
        ("2027-03-31 10:00:00", 'not a string; quote it: "2027-03-31 10:00:00"'),
    ],
)
@pytest.mark.parametrize(
    ("where", "template"),
    [
        ("rules[0].name", "name: {}, older_than: 1d"),
        ("rules[0].usernames[0]", "name: a, older_than: 1d, usernames: [{}]"),
        ("rules[0].roles[0]", "name: a, older_than: 1d, roles: [{}]"),
    ],
)
def test_names_and_globs_are_strings_without_invisible_characters(
    where, template, text, message, errors_of_rule
):
    (error,) = errors_of_rule(template.format(text))
    assert f": {where}: " in error
    assert error.endswith(message)
    assert error.isprintable()


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ("rules: [{name: a, expired: true}, {name: A, expired: true}]", "rules[1]: repeats `a` of"),
        (
            "rules: [{name: r, expired: on}]\nkeep: [{name: B, roles: [x]}, {name: b, roles: [x]}]",
            "keep[1]: repeats `b` of keep[0]; keep one of the two",
        ),
    ],
)
def test_names_are_unique_ignoring_case(lists, expected, errors_of):
    (error,) = errors_of(f"version: 1\norganizations: ['{ID}']\n{lists}\n")
    assert expected in error


def test_rule_and_keep_entry_may_share_a_name(errors_after_head):
    assert errors_after_head("keep: [{name: a, roles: [x]}]\n") == []


def test_keep_entry_without_a_condition_is_an_error(errors_after_head):
    (error,) = errors_after_head("keep: [{name: b, reason: r, until: 2027-01-01}, 3]\n")[:-1]
    assert error.startswith("4:8: keep[0]: would keep everything; add one of `older_than`, ")


@pytest.mark.parametrize(
    "matcher",
    ["older_than: 1d", "expired: false", "statuses: [PENDING]", "projects: [x]", "inviters: [x]"],
)
def test_one_condition_is_enough_for_a_keep_entry(matcher, errors_after_head):
    assert errors_after_head(f"keep: [{{name: b, {matcher}}}]\n") == []


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("soon", "the string `soon` is not a date"),
        ("2027", "the number `2027` is not a date"),
        ("true", "the boolean `true` is not a date"),
        ("2027-03-31 10:00:00", "the timestamp `2027-03-31 10:00:00` is not a date"),
        ("'2027-02-31'", "the string `2027-02-31` is not a date"),
        ("'20270331'", "the string `20270331` is not a date"),
        ("2027-02-31", "`2027-02-31` is read as a date, but that date does not exist"),
        ("[2027-03-31]", "a list is not a date"),
        ("", "is empty"),
    ],
)
def test_until_is_a_date(until, message, errors_after_head):
    (error,) = errors_after_head(f"keep: [{{name: b, roles: [x], until: {until}}}]\n")
    assert f": keep[0].until: {message}; " in error


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("14", "the number `14` has no time unit"),
        ("1:30", "`1:30` is read as a number in base 60"),
        ("14.5", "the number `14.5` has no time unit"),
        ("true", "the boolean `true` has no time unit"),
        ("[14d]", "a list has no time unit"),
        ("{days: 14}", "a mapping has no time unit"),
        ("0d", "the string `0d` is zero"),
        ("-3d", "the string `-3d` is negative"),
        ("P1M", "the string `P1M` uses years or months, which have no fixed length"),
        ("99999999999d", "the string `99999999999d` is longer than 100 years"),
        ("soon", "the string `soon` is not a duration"),
    ],
)
@pytest.mark.parametrize("key", ["older_than", "expires_within"])
def test_time_condition_is_a_duration_above_zero(key, value, message, errors_of_rule):
    (error,) = errors_of_rule(f"name: a, {key}: {value}")
    assert f": rules[0].{key}: {message}; " in error


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (
            "[EXPIRED]",
            "statuses[0]: the string `EXPIRED` is not a status; write `INVITATION_EXPIRED`",
        ),
        ("[pending]", "statuses[0]: the string `pending` is not a status; write `PENDING`"),
        ("[x]", "is not a status; write `PENDING`, `INVITATION_EXPIRED` or `INVITATION_REJECTED`"),
        ("[ACTIVE]", "statuses[0]: the string `ACTIVE` is a member's status, not"),
        (
            "[active]",
            "statuses[0]: the string `active` is a member's status, not an invitation's; ",
        ),
        ("PENDING", 'is the string `PENDING`, not a list; put it in brackets: ["PENDING"]'),
        ("[1]", 'statuses[0]: is the number `1`, not a string; quote it: "1"'),
    ],
)
def test_status_is_one_of_an_invitation(statuses, expected, errors_of_rule):
    (error,) = errors_of_rule(f"name: a, statuses: {statuses}")
    assert expected in error


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "is the number `1`, not `true` or `false`; write `expired: true`"),
        ('"yes"', "is the string `yes`, not `true` or `false`; write `expired: true`"),
        ("[]", "is a list, not `true` or `false`; write `expired: true`"),
    ],
)
def test_expired_is_a_boolean(value, message, errors_of_rule):
    (error,) = errors_of_rule(f"name: a, expired: {value}")
    assert error.endswith(f": rules[0].expired: {message}")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("invits", "the string `invits` is not a source; write `invites`"),
        ("teams", "the string `teams` is not a source; write `"),
        ("zzz", "the string `zzz` is not a source; write `invites`, `users`, `org_users` or"),
        ("1", "the number `1` is not a source; write `invites`, "),
        ("~", "is empty; remove it, or write `sources: "),
    ],
)
def test_source_is_a_known_list(source, expected, errors_after_head):
    (error,) = errors_after_head(f"sources: [{source}]\n")
    assert f"4:11: sources[0]: {expected}" in error


def test_sources_are_not_empty_and_unique(errors_after_head):
    assert "sources: is an empty list" in errors_after_head("sources: []\n")[0]
    (error,) = errors_after_head("sources: [invites, invites]\n")
    assert error.startswith("4:20: sources[1]: repeats `invites` of sources[0]; keep one")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("projects: {include: []}", "4:21: projects.include: is an empty list; "),
        ("projects: {include: 'a*'}", 'not a list; put it in brackets: ["a*"]'),
        ("projects: {exclude: ['']}", "projects.exclude[0]: the string `` is empty; "),
        (
            "projects: {exclud: [a]}",
            "projects.exclud: is not a known key; write `exclude`",
        ),
        (
            "projects: [a]",
            "projects: is a list, not a mapping; write `projects: ",
        ),
        ("projects:", "4:1: projects: is empty; remove it, or write `projects: "),
        ("projects: {tags: [a]}", "projects.tags: is a list, not a mapping; "),
        ("projects: {tags: {a: 1}}", "4:22: projects.tags.a: is the number `1`, not a string"),
        ("projects: {tags: {a: ''}}", "4:22: projects.tags.a: the string `` is empty;"),
        ("projects: {tags: {'': a}}", "projects.tags.: the string `` is empty;"),
        ("projects: {tags: {1: a}}", "4:19: projects.tags: `1` is used as a key; "),
        ("projects: {tags: {a: b, a: c}}", "projects.tags.a: is set twice (first in line 4); "),
    ],
)
def test_project_scope_is_checked(text, expected, errors_after_head):
    (error,) = errors_after_head(text + "\n")
    assert expected in error


@pytest.mark.parametrize(
    "key", ["max_deletions", "max_deletions_per_project", "max_unreadable_projects", "max_bounces"]
)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-1", "the number `-1` is below 0; write 0 or more"),
        ("1000000001", "the number `1000000001` is above 1000000000; write 1000000000 or less"),
        ("true", "is the boolean `true`, not a whole number"),
        ("1.0", "is the number `1.0`, not a whole number"),
        (".inf", "is the number `.inf`, not a whole number"),
        ('"10"', "is the string `10`, not a whole number"),
        ("10%", "is the string `10%`, not a whole number"),
        ("unlimited", "is the string `unlimited`, not a whole number"),
        ("[1]", "is a list, not a whole number"),
        ("", "is empty; remove it, or write"),
    ],
)
def test_count_limit_is_an_integer_from_0(key, value, message, errors_after_head):
    (error,) = errors_after_head(f"limits: {{{key}: {value}}}\n")
    assert f": limits.{key}: {message}" in error


@pytest.mark.parametrize(
    "key", ["max_share", "max_population_drop", "max_failure_share", "max_already_gone_share"]
)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("-0.1", "the number `-0.1` is below 0; write 0 or more"),
        ("1.01", "the number `1.01` is above 1; write 1 or less"),
        ("50", "the number `50` is above 1; write 1 or less"),
        (".nan", "the number `.nan` is not a finite number; write a finite number"),
        (".inf", "the number `.inf` is not a finite number; write a finite number"),
        ("-.inf", "the number `-.inf` is not a finite number; "),
        ("50%", "is the string `50%`, not a number; write `"),
        ("yes", "is the boolean `yes`, not a number; write `"),
    ],
)
def test_share_is_a_number_from_0_to_1(key, value, message, errors_after_head):
    (error,) = errors_after_head(f"limits: {{{key}: {value}}}\n")
    assert f": limits.{key}: {message}" in error


@pytest.mark.parametrize("value", ["0", "1", "0.0", "1.0", "0.25"])
def test_share_of_0_and_1_is_allowed(value, policy_of):
    assert policy_of(f"limits: {{max_share: {value}}}\n").limits.max_share == float(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "limits: {over_limit: trimm}",
            "the string `trimm` is not an allowed value; write `trim`",
        ),
        ("limits: {over_limit: zzz}", "is not an allowed value; write `refuse` or `trim`"),
        ("limits: {over_limit: off}", "the boolean `off` is not an allowed value; "),
        ("limits: {over_limit: [trim]}", "a list is not an allowed value; write `refuse` or"),
        ("limits: {over_limit: }", "is empty; remove it, or write `over_limit: refuse`"),
        ("limits: {breaker_window: 0}", "the number `0` is below 1; write 1 or more"),
        (
            "limits: {breaker_window: 10001}",
            "the number `10001` is above 10000; write 10000 or less",
        ),
        ("limits: {canary: -1}", "the number `-1` is below 0; write 0 or more"),
        (
            "limits: 5",
            "limits: is the number `5`, not a mapping; write `limits: ",
        ),
        ("execution: {concurrency: 0}", "the number `0` is below 1; write 1 or more"),
        ("execution: {concurrency: 1001}", "the number `1001` is above 1000; write 1000 or less"),
        ("execution: {attempts: 0}", "the number `0` is below 1; write 1 or more"),
        ("execution: {attempts: 21}", "the number `21` is above 20; write 20 or less"),
        (
            "execution: {deadline: 0s}",
            "deadline: the string `0s` is zero; write a duration above",
        ),
        ("execution: {deadline: 3600}", "deadline: the number `3600` has no time unit; "),
        (
            "execution: {grace: 0s}",
            "grace: the string `0s` is zero; write a duration above",
        ),
        ("execution: {reserve: 1}", "the number `1` is not below 1; write a number below 1"),
        ("execution: {reserve: -0.1}", "the number `-0.1` is below 0; write 0 or more"),
        ("execution: {reserve: .nan}", "reserve: the number `.nan` is not a finite number"),
        (
            "execution: {max_requests_per_second: 0}",
            "the number `0` is not above 0; write a number",
        ),
        ("execution: {max_requests_per_second: -1}", "the number `-1` is not above 0; write a"),
        ("execution: {max_requests_per_second: .inf}", "`.inf` is not a finite number"),
        ("execution: {max_requests_per_second: '1'}", "is the string `1`, not a number; "),
        ("audit: {path: ''}", "audit.path: the string `` is empty; write a value"),
        ("audit: {path: 'a/{day}.jsonl'}", "`a/{day}.jsonl` contains an unknown placeholder; "),
        ("audit: {path: 'a/{date.jsonl'}", "`a/{date.jsonl` contains an unknown placeholder; "),
        ("audit: {path: 'a/{{date}}'}", "`a/{{date}}` contains an unknown placeholder; "),
        ("audit: {path: 3}", "audit.path: is the number `3`, not a string; quote it: "),
        ("audit: x", "audit: is the string `x`, not a mapping; write `audit: "),
    ],
)
def test_setting_outside_its_bounds_is_an_error(text, expected, errors_after_head):
    (error,) = errors_after_head(text + "\n")
    assert expected in error


@pytest.mark.parametrize(
    "text",
    [
        "limits: {breaker_window: 1, canary: 0, max_bounces: 0}",
        "limits: {breaker_window: 10000, max_deletions: 1000000000}",
        "execution: {concurrency: 1, attempts: 1, reserve: 0}",
        "execution: {concurrency: 1000, attempts: 20, reserve: 0.99}",
        "execution: {max_requests_per_second: 0.001, deadline: 1s, grace: 1s}",
        "projects: {exclude: [], tags: {}}",
        "keep: []",
        "audit: {path: '-'}",
    ],
)
def test_setting_at_its_bounds_is_allowed(text, errors_after_head):
    assert errors_after_head(text + "\n") == []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{kind: slack}", "notify[0].url_env: is missing; add `url_env: SLACK_URL`"),
        ("{url_env: A}", "notify[0].kind: is missing; add `kind: slack`"),
        (
            "{kind: slak, url_env: A}",
            "the string `slak` is not an allowed value; write `slack`",
        ),
        ("{kind: slack, url_env: 'https://example.com/x'}", "never the URL or secret itself"),
        ("{kind: slack, url_env: 1A}", "the value is not an environment variable name; "),
        ("{kind: webhook, url_env: A}", "notify[0].secret_env: is missing; name the variable"),
        (
            "{kind: ping, url_env: A, secret_env: B}",
            "notify[0].secret_env: applies to `webhook`, not to `ping`; remove it",
        ),
        ("{kind: slack, url_env: A, secret_env: B}", "not to `slack`; remove it"),
        ("{kind: slack, url_env: A, when: failure}", "write `failures`"),
        ("{kind: slack, url_env: A, when: yes}", "the boolean `yes` is not an allowed value"),
        ("7", "notify[0]: is the number `7`, not a mapping; write `notify: "),
    ],
)
def test_notification_has_variable_names_and_allowed_values(entry, expected, errors_after_head):
    (error,) = errors_after_head(f"notify: [{entry}]\n")
    assert expected in error


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("limits:\n  max_deletions: 1,000\n", "write `max_deletions: 1000`"),
        ("limits:\n  max_deletions: '1,000,000'\n", "write `max_deletions: 1000000`"),
        ("limits:\n  max_deletions: '5'\n", "write `max_deletions: 5`"),
        ("limits:\n  max_deletions: many\n", "write `max_deletions: 100`"),
        ("limits:\n  max_deletions: 0,5\n", "write `max_deletions: 100`"),
        ("limits:\n  max_share: 0,5\n", "write `max_share: 0.5`"),
        ("limits:\n  max_share: 50%\n", "write `max_share: 0.5`"),
        ("limits:\n  max_share: 12.5 %\n", "write `max_share: 0.125`"),
        ("execution:\n  max_requests_per_second: 1,000\n", "write `max_requests_per_second: 1000`"),
        (
            "limits: {max_deletions: 1,000}\n",
            "write a string, quoted if necessary, and numbers without commas",
        ),
        ("audit:\n  path: {date}.jsonl\n", 'quote it: "{date}.jsonl"'),
        ("audit:\n  path: {date}\n", 'quote it: "{date}"'),
        ("audit:\n  path: {run_id}-{date}.jsonl\n", '"{run_id}-{date}.jsonl"'),
        ("audit: {path: audit/{date}.jsonl}\n", 'quote it: "audit/{date}.jsonl"'),
    ],
)
def test_value_in_another_spelling_is_named_as_a_policy_writes_it(text, hint, errors_after_head):
    (error,) = errors_after_head(text)
    assert error.endswith(f"; {hint}") or hint in error.partition("; quote it: ")[2]


def test_string_with_control_characters_is_escaped_in_the_error(errors_after_head):
    (error,) = errors_after_head('limits: "a\\nb\\e[31m"\n')
    assert "is the string `a\\nb\\x1b[31m`, not a mapping; " in error
    assert error.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "notify: [{kind: slack, url_env: 'https://hooks.example.com/S3CRET'}]",
        "notify: [{kind: webhook, url_env: A, secret_env: mdb_S3CRET}]",
        "client_secret: S3CRET",
        "notify: [{kind: slack, url_env: A, secret: S3CRET}]",
    ],
)
def test_secret_pasted_into_the_policy_is_not_printed(text, errors_after_head):
    (error,) = errors_after_head(text + "\n")
    assert "S3CRET" not in error


def test_secret_pasted_as_a_credentials_name_is_not_printed(errors_of):
    (error,) = errors_of(
        f"version: 1\norganizations: [{{id: {ID}, credentials: mdb_S3CRET}}]\n"
        "rules: [{name: a, expired: true}]\n"
    )
    assert "S3CRET" not in error


def test_invalid_entry_does_not_hide_a_later_duplicate(errors_of):
    errors = errors_of(
        f"version: 1\norganizations: [7, {ID}, {ID}]\n"
        "rules: [{name: a, expired: true}, {expired: true}, {name: a, expired: true}]\n"
    )
    assert [error.split("; ")[0].split(": ", 1)[1] for error in errors] == [
        "organizations[0]: is the number `7`, not a string",
        f"organizations[2]: repeats `{ID}` of organizations[1]",
        "rules[1].name: is missing",
        "rules[2]: repeats `a` of rules[0]",
    ]


def test_key_that_is_not_a_string_is_one_error(errors_after_head):
    assert len(errors_after_head("on: 1\n")) == 1
    assert len(errors_after_head("? [a]\n: 1\n")) == 1
