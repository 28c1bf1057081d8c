"""The JSON Schemas of the results describe exactly what the commands write."""

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import faults
import jsonschema
import pytest
from result_schemas import mismatches, schema_name
from running import cli_in

from invite_sweeper.cli.schema import NAMES, schema_of
from invite_sweeper.simulator.seed import ORG_ID

GOLDEN = Path(__file__).parent / "golden"
RESULTS = {*NAMES} - {"policy", "audit-line"}
DAYS = timedelta(days=1)
OTHER_ORG = "b" * 24
POLICY = ("--policy", "policy.yaml")
AS_JSON = ("--output", "json")


def test_command_prints_the_schemas(cli):
    for name in NAMES:
        assert cli.run("schema", name).summary == json.loads(json.dumps(schema_of(name)))


@pytest.mark.parametrize("name", ["sweep", "restore"])
def test_golden_results_match_their_schema(name):
    assert mismatches("summary", json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))) == []


def test_golden_lines_match_their_schema_and_changed_ones_do_not():
    validator = jsonschema.Draft202012Validator(schema_of("audit-line"))
    events = set()
    text = (GOLDEN / "audit_log.jsonl").read_text("utf-8")
    for line in map(json.loads, text.splitlines()):
        events.add(line["event"])
        validator.validate(line)
        assert not validator.is_valid({**line, "event": "other"})
        assert not validator.is_valid({**line, "seq": "1"})
        own = {"planned": "username", "outcome": "outcome", "run_started": "now"}
        if line["event"] in own:
            del line[own[line["event"]]]
            assert not validator.is_valid(line)
    assert len(events) == 6


# --- the results of real commands -----------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[tuple[str, str, dict]]:
    """What became of a command, its name and its result, of commands that end in every way."""
    found: list[tuple[str, str, dict]] = []
    with cli_in(tmp_path_factory.mktemp("schemas")) as cli:
        cli.short_waits = True

        def run(title: str, command: str, *arguments: str, code: int, **changes: str | None):
            done = cli.run(*command.split(), *arguments, *AS_JSON, **changes)
            assert done.code == code, (title, done.err)
            name = "restore plan" if "--dry-run" in arguments else command
            found.append((title, name, json.loads(done.out)))

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
        refused = sim.invite(project, "refused@example.com", age=20 * DAYS)
        sim.faults.add(faults.fail_with(400), method="DELETE", path=f"*/invites/{refused}")
        sim.invite(project, "ada@example.com", age=20 * DAYS, roles=["GROUP_OWNER"])
        sim.invite(project, "chair@board.example.com", age=20 * DAYS)
        sim.invite(project, "undated@example.com", age=20 * DAYS, createdAt="soon", inviter=None)
        sim.add_user("bo@example.com", age=20 * DAYS, group_roles={project: ["GROUP_OWNER"]})
        run("found", "explain", "*", *POLICY, code=0)
        run("not found", "explain", "x", *POLICY, code=4)
        run("listed", "list", "--username", "ada*", *POLICY, code=0)
        run("planned", "plan", *POLICY, code=0)
        cli.keys["limits"]["max_deletions"] = 0
        run("refused", "sweep", *POLICY, "--yes", code=3)
        del cli.keys["limits"]["max_deletions"]
        run("failed deletion", "sweep", *POLICY, "--yes", code=4)
        run("deleted", "explain", "ada*", *POLICY, code=0)
        run("dry", "restore", *POLICY, "--dry-run", code=0)
        run("restored", "restore", *POLICY, "--yes", code=0)
        run("sound", "audit verify", *POLICY, code=0)
        (cli.folder / "damaged.jsonl").write_bytes(cli.log_path.read_bytes()[100:])
        run("damaged", "audit verify", "damaged.jsonl", code=3)
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
    assert {schema_name(command) for _, command, _ in results} == RESULTS


# --- wrong results --------------------------------------------------------------------------


def values(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of each value in a result, those in a list of its first item."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1])
    for key, each in inner:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from values(each, (*path, key))


def test_values_of_another_type_do_not_match(results):
    seen = set()
    for _, command, result in results:
        name = schema_name(command)
        for path in values(result):
            where = (name, *(step for step in path if isinstance(step, str)))
            if where not in seen:
                seen.add(where)
                changed = copy.deepcopy(result)
                part = changed
                for step in path[:-1]:
                    part = part[step]
                part[path[-1]] = [[]] if isinstance(part[path[-1]], dict | str | int) else {"a": []}
                assert mismatches(name, changed), where
    assert len(seen) > 150
