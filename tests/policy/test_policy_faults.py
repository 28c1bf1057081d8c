"""Every fault of a policy, in words, at its place, with its mend."""

import pytest

from invite_sweeper.errors import ExitCode, InvalidPolicy
from invite_sweeper.models import Source
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


def test_every_fault_of_a_file_is_told_at_once_in_the_order_of_the_file(faults_of):
    assert [fault.split("; ")[0] for fault in faults_of(MANY)] == [
        "1:1: version: is missing",
        "1:1: versoin: is no key that is known here",
        "2:17: organizations[0]: is the number `123456789012345678901234`, where a text belongs",
        "2:43: organizations[1]: the text `xx` is no id",
        "5:16: rules[0].usernames: is the text `*@x`, where a list belongs",
        "6:17: rules[0].older_than: the number `14` has no unit of time",
        "7:5: rules[1]: has no condition of time or status, and nothing is stale for being there",
        "7:5: rules[1].nam: is no key that is known here",
        "7:5: rules[1].name: is missing",
        "9:18: limits.max_deletions: the number `-1` is below 0",
        "10:14: limits.max_share: the number `.nan` is no number that can be counted with",
        "11:3: limits.?: `<<` is taken for a merge key, and none is followed",
        "12:1: keep: is empty",
        "13:15: audit.path: `*alias` is an alias, and none is followed",
    ]


def test_faults_end_a_run_as_wrong_usage_under_the_name_that_the_person_gave():
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(MANY.encode(), "my/policy.yaml")
    assert caught.value.exit_code is ExitCode.USAGE
    assert all(line.startswith("my/policy.yaml:") for line in caught.value.lines())
    assert list(caught.value.issues) == sorted(caught.value.issues)


def test_nothing_is_said_in_the_words_of_the_library(faults_of):
    text = "\n".join(faults_of(MANY)).lower()
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
    ("text", "said"),
    [
        ("[a]", "1:1: policy: is a list, where a mapping of keys belongs; write `version: 1`"),
        ("a", "1:1: policy: is the text `a`, where a mapping of keys belongs; write `version: 1`"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_fault(text, said, faults_of):
    assert faults_of(text) == [said]


def test_a_file_that_is_one_alias_is_one_fault(faults_of):
    assert len(faults_of("*a")) == 1


@pytest.mark.parametrize("missing", ["version", "organizations", "rules"])
def test_each_required_key_that_is_missing_is_told_with_an_example(missing, faults_of):
    parts = {
        "version": "version: 1\n",
        "organizations": f"organizations: ['{ID}']\n",
        "rules": "rules: [{name: a, older_than: 14d}]\n",
    }
    (fault,) = faults_of("".join(text for key, text in parts.items() if key != missing))
    assert fault.startswith(f"1:1: {missing}: is missing; add `{missing}: ")


@pytest.mark.parametrize(
    ("version", "what"),
    [
        ("2", "the number `2` is no version that this program reads"),
        ("true", "the truth value `true` is no version that this program reads"),
        ("1.0", "the number `1.0` is no version that this program reads"),
        ("'1'", "the text `1` is no version that this program reads"),
        ("[1]", "a list is no version that this program reads"),
        ("", "is empty"),
    ],
)
def test_only_the_whole_number_one_is_a_version(version, what, faults_of):
    (fault,) = faults_of(
        f"version: {version}\norganizations: ['{ID}']\nrules: [{{name: a, expired: true}}]\n"
    )
    assert fault.endswith(f": version: {what}; write `version: 1`")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("12", '[0]: is the number `12`, where a text belongs; quote it: "12"'),
        (
            "0" * 24,
            f'[0]: is the number `{"0" * 24}`, where a text belongs; quote it: "{"0" * 24}"',
        ),
        (ID.upper(), f"[0]: the text `{ID.upper()}` has upper-case letters; write `{ID}`"),
        (ID[1:], f"[0]: the text `{ID[1:]}` is no id; write 24 digits and letters from a to f"),
        (ID + "0", f"[0]: the text `{ID}0` is no id; write 24 digits and letters from a to f"),
        (
            f'"{ID}\\n"',
            f"[0]: the text `{ID}\\n` is no id; write 24 digits and letters from a to f",
        ),
        ("''", "[0]: the text `` is no id; write 24 digits and letters from a to f"),
        ("~", f'[0]: is empty; write `organizations: ["{ID}"]`'),
        ("[a]", '[0]: is a list, where a text belongs; write `organizations: ["'),
        ("{}", f"[0].id: is missing; add `id: {ID}`"),
        ("{id: 5}", '[0].id: is the number `5`, where a text belongs; quote it: "5"'),
        (f"{{id: {ID}, secret: x}}", "[0].secret: is no key that is known here; "),
        (
            f"{{id: {ID}, credentials: prod}}",
            "[0].credentials: what stands here is no name for credentials",
        ),
        (
            f"{{id: {ID}, credentials: ''}}",
            "[0].credentials: what stands here is no name for credentials",
        ),
        (f"{{id: {ID}, credentials: ~}}", "[0].credentials: is empty; remove it, or write"),
        (f"{ID}, {ID}", f"[1]: repeats `{ID}` of organizations[0]; keep one of the two"),
        (f"{ID}, {{id: {ID}, credentials: A}}", f"[1]: repeats `{ID}` of organizations[0]; "),
    ],
)
def test_an_organization_is_an_id_of_24_hex_digits_once(entry, said, faults_of):
    (fault,) = faults_of(
        f"version: 1\norganizations: [{entry}]\nrules: [{{name: a, expired: true}}]\n"
    )
    assert f": organizations{said}" in fault


def test_an_empty_list_of_organizations_or_rules_is_a_fault(faults_of):
    first, second = faults_of("version: 1\norganizations: []\nrules: []\n")
    assert first.startswith("2:16: organizations: is an empty list; write one entry or more, as ")
    assert second.startswith("3:8: rules: is an empty list; write one entry or more, as ")


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
def test_an_unknown_key_names_the_nearest_right_one_or_where_it_belongs(
    key, hint, faults_after_head
):
    (fault,) = faults_after_head(f"{key}: x\n")
    assert fault.startswith("4:1: ")
    assert f": is no key that is known here; {hint}" in fault
    assert len(fault) < 250


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        (
            "older_then: 14d",
            "rules[0].older_then: is no key that is known here; write `older_than`",
        ),
        ("limits: {}", "rules[0].limits: is no key that is known here; it belongs at the top"),
        ("canary: 3", "rules[0].canary: is no key that is known here; it belongs under `limits`"),
    ],
)
def test_an_unknown_key_in_a_rule_is_told_of_the_rules_keys(inside, said, faults_of_rule):
    (fault,) = faults_of_rule(f"name: a, older_than: 14d, {inside}")
    assert said in fault


def test_past_a_hundred_unknown_keys_no_more_suggestions_are_looked_for(faults_after_head):
    faults = faults_after_head("".join(f"limit{n}: 1\n" for n in range(103)))
    assert len(faults) == 103
    assert sum(fault.endswith("; write `limits`") for fault in faults) == 100
    assert sum(fault.endswith("; remove it") for fault in faults) == 3


def test_keys_inside_what_is_no_mapping_of_ours_have_no_suggestion(faults_after_head):
    (fault,) = faults_after_head("projects: {tags: {a: [b]}}\n")
    assert fault.startswith("4:22: projects.tags.a: is a list, where a text belongs; write `tags: ")


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
def test_a_rule_has_a_condition_of_time_or_status(inside, stale, faults_of_rule):
    said = "has no condition of time or status, and nothing is stale for being there"
    faults = [fault.split("; ")[0] for fault in faults_of_rule(f"name: a, {inside}")]
    assert faults == ([] if stale else [f"3:9: rules[0]: {said}"])


def test_a_faulty_condition_is_one_fault_and_not_two(faults_of_rule):
    for inside in ("older_than: 14", "older_than:", "older_than: *x", "statuses: []", "expired: 1"):
        assert len(faults_of_rule(f"name: a, {inside}")) == 1


def test_a_faulty_field_does_not_hide_that_a_rule_has_no_condition(faults_of_rule):
    assert len(faults_of_rule("name: 7, usernames: x, expired: false")) == 3


@pytest.mark.parametrize(
    "key", ["usernames", "inviters", "roles", "projects", "statuses", "older_than", "expired"]
)
def test_a_condition_without_a_value_is_a_fault_and_never_left_out(key, faults_of_rule):
    # `usernames:` above lines that were commented out would widen the rule to everybody.
    (fault,) = faults_of_rule(f"name: a, expires_within: 1d, {key}: ")
    assert f": rules[0].{key}: is empty; " in fault


@pytest.mark.parametrize("key", ["usernames", "inviters", "roles", "projects", "statuses"])
def test_an_empty_list_in_a_matcher_is_a_fault(key, faults_of_rule):
    (fault,) = faults_of_rule(f"name: a, expired: true, {key}: []")
    assert f"rules[0].{key}: is an empty list; write one entry or more, as `{key}: [" in fault


def test_a_list_with_faulty_entries_is_not_called_empty(faults_of_rule):
    (fault,) = faults_of_rule("name: a, expired: true, usernames: [1]")
    assert fault == (
        '3:46: rules[0].usernames[0]: is the number `1`, where a text belongs; quote it: "1"'
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('""', "the text `` is empty; write something, or remove it"),
        ('"   "', "the text `   ` is empty; write something, or remove it"),
        ('"a\\nb"', "the text `a\\nb` holds a character that nobody sees; remove it"),
        ('"a\\0b"', "the text `a\\x00b` holds a character that nobody sees; remove it"),
        ('"a\\e[31mb"', "the text `a\\x1b[31mb` holds a character that nobody sees; remove it"),
        ('"a\\u200bb"', "the text `a\\u200bb` holds a character that nobody sees; remove it"),
        ('"a\\u202eb"', "the text `a\\u202eb` holds a character that nobody sees; remove it"),
        ('"a\\u2028b"', "the text `a\\u2028b` holds a character that nobody sees; remove it"),
        ('" a"', "` a` begins or ends with a space; remove the space"),
        ('"a\\u00a0"', "begins or ends with a space; remove the space"),
        ("yes", 'is the truth value `yes`, where a text belongs; quote it: "yes"'),
        ("2027-03-31", 'is the date `2027-03-31`, where a text belongs; quote it: "2027-03-31"'),
        ("1.5", 'is the number `1.5`, where a text belongs; quote it: "1.5"'),
        ("2027-03-31 10:00:00", 'where a text belongs; quote it: "2027-03-31 10:00:00"'),
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
def test_names_and_globs_are_texts_that_can_be_seen(where, template, text, what, faults_of_rule):
    (fault,) = faults_of_rule(template.format(text))
    assert f": {where}: " in fault
    assert fault.endswith(what)
    assert fault.isprintable()


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ("rules: [{name: a, expired: true}, {name: A, expired: true}]", "rules[1]: repeats `a` of"),
        (
            "rules: [{name: r, expired: on}]\nkeep: [{name: B, roles: [x]}, {name: b, roles: [x]}]",
            "keep[1]: repeats `b` of keep[0]; keep one of the two",
        ),
    ],
)
def test_names_are_unique_whatever_their_case(lists, said, faults_of):
    (fault,) = faults_of(f"version: 1\norganizations: ['{ID}']\n{lists}\n")
    assert said in fault


def test_a_rule_and_a_keep_entry_may_share_a_name(faults_after_head):
    assert faults_after_head("keep: [{name: a, roles: [x]}]\n") == []


def test_a_keep_entry_without_a_matcher_is_a_fault(faults_after_head):
    (fault,) = faults_after_head("keep: [{name: b, reason: r, until: 2027-01-01}, 3]\n")[:-1]
    assert fault.startswith("4:8: keep[0]: would keep everything; add one of `older_than`, ")


@pytest.mark.parametrize(
    "matcher",
    ["older_than: 1d", "expired: false", "statuses: [PENDING]", "projects: [x]", "inviters: [x]"],
)
def test_any_one_matcher_is_enough_for_a_keep_entry(matcher, faults_after_head):
    assert faults_after_head(f"keep: [{{name: b, {matcher}}}]\n") == []


@pytest.mark.parametrize(
    ("until", "what"),
    [
        ("soon", "the text `soon` is no day of the calendar"),
        ("2027", "the number `2027` is no day of the calendar"),
        ("true", "the truth value `true` is no day of the calendar"),
        ("2027-03-31 10:00:00", "the instant `2027-03-31 10:00:00` is no day of the calendar"),
        ("'2027-02-31'", "the text `2027-02-31` is no day of the calendar"),
        ("'20270331'", "the text `20270331` is no day of the calendar"),
        ("2027-02-31", "`2027-02-31` is taken for a date and is no day of the calendar"),
        ("[2027-03-31]", "a list is no day of the calendar"),
        ("", "is empty"),
    ],
)
def test_until_is_a_day_of_the_calendar(until, what, faults_after_head):
    (fault,) = faults_after_head(f"keep: [{{name: b, roles: [x], until: {until}}}]\n")
    assert f": keep[0].until: {what}; " in fault


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("14", "the number `14` has no unit of time"),
        ("1:30", "the number `1:30` has no unit of time"),
        ("14.5", "the number `14.5` has no unit of time"),
        ("true", "the truth value `true` has no unit of time"),
        ("[14d]", "a list has no unit of time"),
        ("{days: 14}", "a mapping of keys has no unit of time"),
        ("0d", "the text `0d` is no time at all"),
        ("-3d", "the text `-3d` is below zero"),
        ("P1M", "the text `P1M` counts years or months, which have no fixed length"),
        ("99999999999d", "the text `99999999999d` is longer than 100 years"),
        ("soon", "the text `soon` is no duration"),
    ],
)
@pytest.mark.parametrize("key", ["older_than", "expires_within"])
def test_a_span_of_time_in_a_rule_is_a_duration_above_zero(key, value, what, faults_of_rule):
    (fault,) = faults_of_rule(f"name: a, {key}: {value}")
    assert f": rules[0].{key}: {what}; " in fault


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ("[EXPIRED]", "statuses[0]: the text `EXPIRED` is no status; write `INVITATION_EXPIRED`"),
        ("[pending]", "statuses[0]: the text `pending` is no status; write `PENDING`"),
        ("[x]", "is no status; write `PENDING`, `INVITATION_EXPIRED` or `INVITATION_REJECTED`"),
        ("[ACTIVE]", "statuses[0]: the text `ACTIVE` is the status of a member, never of"),
        (
            "[active]",
            "statuses[0]: the text `active` is the status of a member, never of an invitation; ",
        ),
        ("PENDING", 'is the text `PENDING`, where a list belongs; put it in brackets: ["PENDING"]'),
        ("[1]", 'statuses[0]: is the number `1`, where a text belongs; quote it: "1"'),
    ],
)
def test_a_status_is_one_that_an_invitation_can_have(statuses, said, faults_of_rule):
    (fault,) = faults_of_rule(f"name: a, statuses: {statuses}")
    assert said in fault


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("1", "is the number `1`, where `true` or `false` belongs; write `expired: true`"),
        ('"yes"', "is the text `yes`, where `true` or `false` belongs; write `expired: true`"),
        ("[]", "is a list, where `true` or `false` belongs; write `expired: true`"),
    ],
)
def test_expired_is_a_truth_value(value, what, faults_of_rule):
    (fault,) = faults_of_rule(f"name: a, expired: {value}")
    assert fault.endswith(f": rules[0].expired: {what}")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("invits", "the text `invits` is no source; write `invites`"),
        ("teams", "the text `teams` is no source; write `"),
        ("zzz", "the text `zzz` is no source; write `invites`, `users`, `org_users` or"),
        ("1", "the number `1` is no source; write `invites`, "),
        ("~", "is empty; remove it, or write `sources: "),
    ],
)
def test_a_source_is_a_known_word(source, said, faults_after_head):
    (fault,) = faults_after_head(f"sources: [{source}]\n")
    assert f"4:11: sources[0]: {said}" in fault


def test_a_source_that_is_not_read_yet_is_a_fault_that_says_so(faults_after_head, monkeypatch):
    monkeypatch.setattr("invite_sweeper.policy.types.READABLE_SOURCES", frozenset({Source.INVITES}))
    said = "is a list that this version does not read yet"
    assert faults_after_head("sources: [invites, users, org_users, org_invites]\n") == [
        f"4:{column}: sources[{position}]: the text `{source}` {said}; write `invites`"
        for position, column, source in (
            (1, 20, "users"),
            (2, 27, "org_users"),
            (3, 38, "org_invites"),
        )
    ]


def test_widening_the_constant_is_all_it_takes_to_read_another_source(policy_of, monkeypatch):
    monkeypatch.setattr("invite_sweeper.policy.types.READABLE_SOURCES", frozenset(Source))
    policy = policy_of("sources: [invites, users, org_users, org_invites]\n")
    assert policy.sources == tuple(Source)


def test_sources_are_not_empty_and_not_twice(faults_after_head):
    assert "sources: is an empty list" in faults_after_head("sources: []\n")[0]
    (fault,) = faults_after_head("sources: [invites, invites]\n")
    assert fault.startswith("4:20: sources[1]: repeats `invites` of sources[0]; keep one")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("projects: {include: []}", "4:21: projects.include: is an empty list; "),
        ("projects: {include: 'a*'}", 'where a list belongs; put it in brackets: ["a*"]'),
        ("projects: {exclude: ['']}", "projects.exclude[0]: the text `` is empty; "),
        (
            "projects: {exclud: [a]}",
            "projects.exclud: is no key that is known here; write `exclude`",
        ),
        (
            "projects: [a]",
            "projects: is a list, where a mapping of keys belongs; write `projects: ",
        ),
        ("projects:", "4:1: projects: is empty; remove it, or write `projects: "),
        ("projects: {tags: [a]}", "projects.tags: is a list, where a mapping of keys belongs; "),
        ("projects: {tags: {a: 1}}", "4:22: projects.tags.a: is the number `1`, where a text"),
        ("projects: {tags: {a: ''}}", "4:22: projects.tags.a: the text `` is empty;"),
        ("projects: {tags: {'': a}}", "projects.tags.: the text `` is empty;"),
        ("projects: {tags: {1: a}}", "4:19: projects.tags: `1` stands as a key; "),
        ("projects: {tags: {a: b, a: c}}", "projects.tags.a: stands twice (first in line 4); "),
    ],
)
def test_the_scope_of_projects_is_checked(text, said, faults_after_head):
    (fault,) = faults_after_head(text + "\n")
    assert said in fault


@pytest.mark.parametrize(
    "key", ["max_deletions", "max_deletions_per_project", "max_unreadable_projects", "max_bounces"]
)
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("-1", "the number `-1` is below 0; write 0 or more"),
        ("1000000001", "the number `1000000001` is above 1000000000; write 1000000000 or less"),
        ("true", "is the truth value `true`, where a whole number belongs"),
        ("1.0", "is the number `1.0`, where a whole number belongs"),
        (".inf", "is the number `.inf`, where a whole number belongs"),
        ('"10"', "is the text `10`, where a whole number belongs"),
        ("10%", "is the text `10%`, where a whole number belongs"),
        ("unlimited", "is the text `unlimited`, where a whole number belongs"),
        ("[1]", "is a list, where a whole number belongs"),
        ("", "is empty; remove it, or write"),
    ],
)
def test_a_cap_is_a_whole_number_from_zero(key, value, what, faults_after_head):
    (fault,) = faults_after_head(f"limits: {{{key}: {value}}}\n")
    assert f": limits.{key}: {what}" in fault


@pytest.mark.parametrize(
    "key", ["max_share", "max_population_drop", "max_failure_share", "max_already_gone_share"]
)
@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("-0.1", "the number `-0.1` is below 0; write 0 or more"),
        ("1.01", "the number `1.01` is above 1; write 1 or less"),
        ("50", "the number `50` is above 1; write 1 or less"),
        (".nan", "the number `.nan` is no number that can be counted with; write a finite number"),
        (".inf", "the number `.inf` is no number that can be counted with; write a finite number"),
        ("-.inf", "the number `-.inf` is no number that can be counted with; "),
        ("50%", "is the text `50%`, where a number belongs; write `"),
        ("yes", "is the truth value `yes`, where a number belongs; write `"),
    ],
)
def test_a_share_is_a_number_from_zero_to_one(key, value, what, faults_after_head):
    (fault,) = faults_after_head(f"limits: {{{key}: {value}}}\n")
    assert f": limits.{key}: {what}" in fault


@pytest.mark.parametrize("value", ["0", "1", "0.0", "1.0", "0.25"])
def test_both_ends_of_a_share_are_allowed(value, policy_of):
    assert policy_of(f"limits: {{max_share: {value}}}\n").limits.max_share == float(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "limits: {over_limit: trimm}",
            "the text `trimm` is no word that is known here; write `trim`",
        ),
        ("limits: {over_limit: zzz}", "is no word that is known here; write `refuse` or `trim`"),
        ("limits: {over_limit: off}", "the truth value `off` is no word that is known here; "),
        ("limits: {over_limit: [trim]}", "a list is no word that is known here; write `refuse` or"),
        ("limits: {over_limit: }", "is empty; remove it, or write `over_limit: refuse`"),
        ("limits: {quarantine: 1}", "is the number `1`, where `true` or `false` belongs; "),
        ("limits: {breaker_window: 0}", "the number `0` is below 1; write 1 or more"),
        (
            "limits: {breaker_window: 10001}",
            "the number `10001` is above 10000; write 10000 or less",
        ),
        ("limits: {canary: -1}", "the number `-1` is below 0; write 0 or more"),
        (
            "limits: 5",
            "limits: is the number `5`, where a mapping of keys belongs; write `limits: ",
        ),
        ("execution: {concurrency: 0}", "the number `0` is below 1; write 1 or more"),
        ("execution: {concurrency: 1001}", "the number `1001` is above 1000; write 1000 or less"),
        ("execution: {attempts: 0}", "the number `0` is below 1; write 1 or more"),
        ("execution: {attempts: 21}", "the number `21` is above 20; write 20 or less"),
        (
            "execution: {deadline: 0s}",
            "deadline: the text `0s` is no time at all; write a duration above",
        ),
        ("execution: {deadline: 3600}", "deadline: the number `3600` has no unit of time; "),
        (
            "execution: {grace: 0s}",
            "grace: the text `0s` is no time at all; write a duration above",
        ),
        ("execution: {reserve: 1}", "the number `1` is not below 1; write a number below 1"),
        ("execution: {reserve: -0.1}", "the number `-0.1` is below 0; write 0 or more"),
        ("execution: {reserve: .nan}", "reserve: the number `.nan` is no number that can be"),
        (
            "execution: {max_requests_per_second: 0}",
            "the number `0` is not above 0; write a number",
        ),
        ("execution: {max_requests_per_second: -1}", "the number `-1` is not above 0; write a"),
        ("execution: {max_requests_per_second: .inf}", "`.inf` is no number that can be counted"),
        ("execution: {max_requests_per_second: '1'}", "is the text `1`, where a number belongs; "),
        ("audit: {path: ''}", "audit.path: the text `` is empty; write something"),
        ("audit: {path: 'a/{day}.jsonl'}", "`a/{day}.jsonl` holds a placeholder that is none; "),
        ("audit: {path: 'a/{date.jsonl'}", "`a/{date.jsonl` holds a placeholder that is none; "),
        ("audit: {path: 'a/{{date}}'}", "`a/{{date}}` holds a placeholder that is none; "),
        ("audit: {path: 3}", "audit.path: is the number `3`, where a text belongs; quote it: "),
        ("audit: x", "audit: is the text `x`, where a mapping of keys belongs; write `audit: "),
    ],
)
def test_settings_hold_to_their_bounds(text, said, faults_after_head):
    (fault,) = faults_after_head(text + "\n")
    assert said in fault


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
def test_the_ends_of_the_bounds_are_allowed(text, faults_after_head):
    assert faults_after_head(text + "\n") == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{kind: slack}", "notify[0].url_env: is missing; add `url_env: SLACK_URL`"),
        ("{url_env: A}", "notify[0].kind: is missing; add `kind: slack`"),
        (
            "{kind: slak, url_env: A}",
            "the text `slak` is no word that is known here; write `slack`",
        ),
        ("{kind: slack, url_env: 'https://example.com/x'}", "never the address or secret itself"),
        ("{kind: slack, url_env: 1A}", "what stands here is no name of an environment variable; "),
        ("{kind: webhook, url_env: A}", "notify[0].secret_env: is missing; name the variable"),
        (
            "{kind: ping, url_env: A, secret_env: B}",
            "notify[0].secret_env: is for `webhook`, and this is a `ping`; remove it",
        ),
        ("{kind: slack, url_env: A, secret_env: B}", "and this is a `slack`; remove it"),
        ("{kind: slack, url_env: A, when: failure}", "write `failures`"),
        ("{kind: slack, url_env: A, when: yes}", "the truth value `yes` is no word that is known"),
        ("7", "notify[0]: is the number `7`, where a mapping of keys belongs; write `notify: "),
    ],
)
def test_a_notification_names_variables_and_known_words(entry, said, faults_after_head):
    (fault,) = faults_after_head(f"notify: [{entry}]\n")
    assert said in fault


def test_a_list_where_a_mapping_belongs_is_quoted_in_one_line(faults_after_head):
    (fault,) = faults_after_head('limits: "a\\nb\\e[31m"\n')
    assert "is the text `a\\nb\\x1b[31m`, where a mapping of keys belongs; " in fault
    assert fault.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "notify: [{kind: slack, url_env: 'https://hooks.example.com/S3CRET'}]",
        "notify: [{kind: webhook, url_env: A, secret_env: mdb_S3CRET}]",
        "client_secret: S3CRET",
        "notify: [{kind: slack, url_env: A, secret: S3CRET}]",
    ],
)
def test_a_secret_that_was_pasted_into_the_policy_is_not_printed(text, faults_after_head):
    (fault,) = faults_after_head(text + "\n")
    assert "S3CRET" not in fault


def test_a_secret_that_was_pasted_as_the_name_of_credentials_is_not_printed(faults_of):
    (fault,) = faults_of(
        f"version: 1\norganizations: [{{id: {ID}, credentials: mdb_S3CRET}}]\n"
        "rules: [{name: a, expired: true}]\n"
    )
    assert "S3CRET" not in fault


def test_a_faulty_entry_does_not_hide_that_a_later_one_repeats_a_name(faults_of):
    faults = faults_of(
        f"version: 1\norganizations: [7, {ID}, {ID}]\n"
        "rules: [{name: a, expired: true}, {expired: true}, {name: a, expired: true}]\n"
    )
    assert [fault.split("; ")[0].split(": ", 1)[1] for fault in faults] == [
        "organizations[0]: is the number `7`, where a text belongs",
        f"organizations[2]: repeats `{ID}` of organizations[1]",
        "rules[1].name: is missing",
        "rules[2]: repeats `a` of rules[0]",
    ]


def test_a_key_that_is_no_text_is_one_fault_and_not_an_unknown_key_besides(faults_after_head):
    assert len(faults_after_head("on: 1\n")) == 1
    assert len(faults_after_head("? [a]\n: 1\n")) == 1
