"""The JSON Schemas of the results describe exactly what the commands write."""

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import faults
import pytest
from result_schemas import fits, mismatches, schema_name, validator
from running import cli_in

from invite_sweeper.cli.schema import SchemaName, schema_of
from invite_sweeper.json_text import to_json
from invite_sweeper.report import run_view
from invite_sweeper.simulator.seed import ORG_ID

GOLDEN = Path(__file__).parent / "golden"
RESULTS = [name for name in SchemaName if name is not SchemaName.POLICY]
DAYS = timedelta(days=1)
OTHER_ORG = "b" * 24
POLICY = ("--policy", "policy.yaml")
LOG = "audit/invite-sweeper.jsonl"
AS_JSON = ("--output", "json")


@pytest.mark.parametrize("name", RESULTS)
def test_command_prints_the_schema(name, tmp_path):
    with cli_in(tmp_path) as cli:
        assert json.loads(cli.run("schema", name).out) == schema_of(name)


@pytest.mark.parametrize("name", RESULTS)
def test_schema_describes_every_object(name):
    definitions = validator(name).schema["$defs"]
    objects = {title: each for title, each in definitions.items() if "properties" in each}
    assert objects
    for title, each in objects.items():
        assert each["description"].endswith("."), title
        assert each["additionalProperties"] is False, title
        for key, described in each["properties"].items():
            assert described.get("description", ".").endswith("."), f"{title}.{key}"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.name)
def test_golden_results_match_their_schema(path):
    name = SchemaName.RESTORE if path.name == "restore.json" else SchemaName.SUMMARY
    assert mismatches(name, json.loads(path.read_text("utf-8"))) == []


# --- the results of real commands -----------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[tuple[str, str, dict]]:
    """The command, what became of it, and the result, of commands that end in every way."""
    found: list[tuple[str, str, dict]] = []
    with cli_in(tmp_path_factory.mktemp("schemas")) as cli:
        cli.short_waits = True

        def run(title: str, command: str, *arguments: str, code: int, **changes: str | None):
            done = cli.run(*command.split(), *arguments, *AS_JSON, **changes)
            assert done.code == code, (title, done.err)
            found.extend((title, command, json.loads(line)) for line in done.out.splitlines())

        sim = cli.sim
        project = sim.add_project("Sandbox")
        cli.keys |= {
            "sources": ["invites", "org_users", "users", "org_invites"],
            "keep": [{"name": "board", "usernames": ["*@board.example.com"], "reason": "travel"}],
        }
        cli.keys["rules"] = [
            {"name": "forgotten", "older_than": "14d", "statuses": ["PENDING"]},
            {"name": "other", "expired": True, "roles": ["GROUP_OWNER"], "projects": ["S*"]},
        ]
        run("nothing to do", "sweep", *POLICY, "--yes", code=0)
        refused = sim.invite(project, "refused@example.com", age=20 * DAYS)
        sim.faults.add(faults.fail_with(400), method="DELETE", path=f"*/invites/{refused}")
        sim.invite(project, "ada@example.com", age=20 * DAYS, roles=["GROUP_OWNER"])
        sim.invite(project, "chair@board.example.com", age=20 * DAYS)
        sim.invite(project, "undated@example.com", age=20 * DAYS, createdAt="soon", inviter=None)
        sim.add_user("bo@example.com", age=20 * DAYS, group_roles={project: ["GROUP_OWNER"]})
        run("found", "explain", "*", *POLICY, code=0)
        run("not found", "explain", "x", *POLICY, code=0)
        run("planned", "plan", *POLICY, "--out", "plan.jsonl", code=0)
        run("saved", "plan show", "plan.jsonl", code=0)
        cli.keys["limits"]["max_deletions"] = 0
        run("refused", "sweep", *POLICY, "--yes", code=3)
        del cli.keys["limits"]["max_deletions"]
        run("failed deletion", "sweep", *POLICY, "--yes", code=4)
        run("used", "plan show", "plan.jsonl", code=0)
        run("dry", "restore", LOG, "--dry-run", code=0)
        run("too many", "restore", LOG, "--max", "0", "--yes", code=3)
        run("restored", "restore", LOG, "--yes", code=0)
        run("nothing", "restore", LOG, "--username", "x", "--yes", code=0)
        run("sound", "audit verify", LOG, code=0)
        run("records", "audit show", LOG, code=0)
        (cli.folder / "damaged.jsonl").write_bytes(cli.log_path.read_bytes()[100:])
        run("damaged", "audit verify", "damaged.jsonl", code=3)
        done = cli.run("report", LOG, "--format", "json")
        assert done.code == 0, done.err
        report = done.out
        found.append(("report", "report", json.loads(report)))
        run("valid", "validate", "policy.yaml", code=0)
        (cli.folder / "invalid.yaml").write_text("version: 2\nrules: 3\n", encoding="utf-8")
        run("invalid", "validate", "invalid.yaml", code=2)
        (cli.folder / "odd.yaml").write_text(
            f'version: 1\norganizations: ["{ORG_ID}"]\n'
            "rules: [{name: a, older_than: 14d, usernames: ['^a@'], roles: [GROUP_OWNR]}]\n",
            encoding="utf-8",
        )
        run("warnings", "validate", "odd.yaml", code=0)
        sim.add_organization(OTHER_ORG, "Other")
        sim.add_project("Other", org_id=OTHER_ORG)
        token = sim.add_token(OTHER_ORG).environment()
        other = {f"{key}_OTHER": value for key, value in token.items()}
        cli.keys["organizations"] = [ORG_ID, {"id": OTHER_ORG, "credentials": "OTHER"}]
        run("several organizations", "plan", *POLICY, code=0, **other)
        wrong = {"MONGODB_ATLAS_ACCESS_TOKEN": "wrong"}
        run("one fails", "plan", *POLICY, code=4, **{**other, **wrong})
        run("doctor", "doctor", *POLICY, code=0, **other)
        run("no policy", "doctor", "--policy", "missing.yaml", code=2)
        cli.keys["organizations"] = [ORG_ID]
        run("credentials", "sweep", *POLICY, code=5, **wrong)
        sim.faults.add(faults.fail_with(500), method="GET", path="*/groups/*/invites", times=None)
        cli.keys["execution"] = {"attempts": 1}
        run("unreadable", "plan", *POLICY, code=4)
        run("unreadable", "explain", "ada*", *POLICY, code=4)
        sim.faults.clear()
        sim.faults.add(faults.hang(), method="GET", path="*/groups/*/invites", times=None)
        run("deadline", "plan", *POLICY, "--deadline", "1s", code=8)
        run("no run", "sweep", "--policy", "missing.yaml", code=2)
    return found


def test_results_of_real_commands_match_their_schemas(results):
    wrong = {
        f"{command}: {title}": found
        for title, command, result in results
        if (found := mismatches(schema_name(command), result))
    }
    assert wrong == {}
    assert {schema_name(command) for _, command, _ in results} == {*RESULTS} - {
        SchemaName.AUDIT_LINE
    }


def test_every_result_of_a_command_has_its_exit_code(results):
    for title, command, result in results:
        if command not in {"audit show", "report"}:
            assert isinstance(result["exit_code"], int), title


def test_truncated_summary_matches_the_schema(tmp_path, monkeypatch):
    with cli_in(tmp_path) as cli:
        project = cli.sim.add_project("Sandbox")
        for number in range(3):
            cli.sim.invite(project, f"{number}@example.com", age=20 * DAYS)
        result = cli.plan().summary
        rows, truncated = run_view.load_planned(
            cli.log_path, {result["run_id"]}, start=0, max_rows=2
        )
    assert (len(rows), truncated) == (2, True)
    cut = {**result, "invitations": json.loads(to_json(rows)), "truncated": True}
    assert mismatches(SchemaName.SUMMARY, cut) == []


# --- wrong results --------------------------------------------------------------------------

MAPPINGS = {
    *("kept_by_reason", "invitations_by_source", "rules", "organization_names"),
    *("keep_entries", "sunsets", "visible_projects", "remaining"),
    *("outcomes", "counts", "names"),
}
"""Objects whose keys are names of the policy, outcomes or ids."""


def objects(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of each object in a result whose keys are fixed."""
    if isinstance(value, dict):
        if MAPPINGS.isdisjoint(path):
            yield path
        for key, inner in value.items():
            yield from objects(inner, (*path, key))
    if isinstance(value, list) and value:
        yield from objects(value[0], (*path, 0))


def at(result: dict, path: tuple) -> dict:
    for step in path:
        result = result[step]
    return result


OPTIONAL = {
    *(
        "truncated",
        "outcome",
        "bounced",
        "new",
        "status",
        "team_ids",
        "project_roles",
        "linked_projects",
    ),
    *("verdict", "name", "organizations"),
}


def test_missing_unknown_and_mistyped_keys_do_not_match(results):
    """In every object of one result of each kind; an optional key may be missing."""
    seen, checked = set(), 0
    for _, command, result in results:
        name = schema_name(command)
        for path in objects(result):
            where = (name, tuple(step for step in path if isinstance(step, str)))
            if where in seen:
                continue
            seen.add(where)
            assert not fits(name, changed(result, path, "unexpected", 1)), where
            for key, value in at(result, path).items():
                wrong = [] if isinstance(value, dict | str | int | float) else {"a": 1}
                assert not fits(name, changed(result, path, key, wrong)), (where, key)
                if name is not SchemaName.AUDIT_SHOW and key not in OPTIONAL:
                    assert not fits(name, changed(result, path, key, None, drop=True)), (where, key)
                checked += 1
    assert checked > 150


def changed(result: dict, path: tuple, key: str, value: object, *, drop: bool = False) -> dict:
    copied = copy.deepcopy(result)
    part = at(copied, path)
    if drop:
        del part[key]
    else:
        part[key] = value
    return copied
