"""With `--output json`, stdout is one object on every exit."""

import json
import signal
from contextlib import contextmanager

import faults
import pytest
from running import Done, cli_in, end, wait_until

from invite_sweeper.cli.streams import json_requested

AS_JSON = ("--output", "json")


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    with cli_in(tmp_path_factory.mktemp("json")) as found:
        found.stock()
        assert found.sweep().code == 0
        (found.folder / "invalid.yaml").write_text("version: 2\nrules: 3\n", encoding="utf-8")
        yield found


def error_of(done: Done, code: int) -> dict[str, str]:
    result = json.loads(done.out)
    assert result.keys() == {"exit_code", "reasons", "error"}
    error = result["error"]
    assert error.keys() - {"command"} == {"message", "consequence", "hint"}
    assert error["hint"].endswith(error.get("command", ""))
    assert (done.code, result["exit_code"]) == (code, code), done.err
    assert result["error"]["message"] in done.errors
    return result["error"]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ("sweep --zzzz", "No such option '--zzzz'.", "See: invite-sweeper sweep --help"),
        ("restore 7", "has no run 7.", ""),
        ("audit verify missing", "Path 'missing' does not exist.", ""),
        (f"sweep --plan-sha256 {'a' * 64}", "--plan-sha256 needs --plan.", ""),
        ("swep", "No such command 'swep'. Did you mean 'sweep'?", ""),
        ("sweep --policy missing.yaml", "The policy missing.yaml cannot be read: No such", ""),
        ("sweep --policy invalid.yaml", "invalid.yaml has 3 errors.", "validate invalid.yaml"),
    ],
)
def test_wrong_usage_or_an_invalid_policy_is_one_object(cli, arguments, message, hint):
    error = error_of(cli.run(*arguments.split(), *AS_JSON), 2)
    assert message in error["message"]
    assert error["message"][-1] in ".?"
    assert hint in error["hint"]


@pytest.mark.parametrize(
    ("words", "changes", "code"),
    [
        ("explain *", {"MONGODB_ATLAS_ACCESS_TOKEN": "wrong"}, 5),
        ("explain *", {"MONGODB_ATLAS_BASE_URL": "http://example.com"}, 2),
        ("explain * --base-url http://127.0.0.1:1", {}, 6),
        ("sweep --audit-dir invalid.yaml/audit", {}, 7),
    ],
)
def test_what_cannot_be_used_is_one_object(cli, words, changes, code):
    error_of(cli.run(*words.split(), *AS_JSON, **changes), code)


@contextmanager
def hanging(cli, *words):
    cli.sim.faults.add(faults.hang(), path="*/groups")
    before = cli.sim.received.total()
    process = cli.fork(*words)
    wait_until(lambda: cli.sim.received.total() > before)
    yield process
    process.kill()
    process.wait()
    cli.sim.faults.rules.clear()


def test_lock_that_is_held_is_one_object(cli):
    with hanging(cli, "plan") as holder:
        error = error_of(cli.run("restore", *AS_JSON), 9)
        assert "holds the lock" in error["message"]
        assert str(holder.pid) in error["message"]


def test_signal_while_atlas_is_read_is_one_object(cli):
    with hanging(cli, "doctor", *AS_JSON) as process:
        process.send_signal(signal.SIGTERM)
        done = end(process)
    assert done.code == 8
    assert done.summary == {
        "exit_code": 8,
        "reasons": ["interrupted"],
        "error": {
            "message": "Stopped early: SIGTERM received.",
            "consequence": "Nothing was deleted.",
            "hint": "Run the command again: it processes the rest.",
        },
    }
    assert done.err.count("Stopped early: SIGTERM received.") == 1


DEFECT = """
from invite_sweeper.cli import sweep
def fail(*_arguments, **_options):
    {before}
    raise ZeroDivisionError("by zero")
sweep.run_command = fail
"""
SIGNALLED = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
SECOND = "from invite_sweeper.cli.streams import OUTPUTS; OUTPUTS.write(b'{\"a\":1}\\n')"


@pytest.mark.parametrize(
    ("before", "code", "result", "err"),
    [
        ("", 1, "Internal error: ZeroDivisionError: by zero.", "Traceback"),
        (SIGNALLED, 8, '"exit_code": 8', "Interrupted. Nothing was deleted.\n"),
        (SECOND, 1, '{"a": 1}', "Traceback"),
    ],
    ids=["defect", "signal before the run", "defect after the result"],
)
def test_defect_or_signal_before_a_run_is_one_object(cli, before, code, result, err):
    done = end(cli.fork("sweep", *AS_JSON, prepare=DEFECT.format(before=before)))
    assert done.code == code
    assert result in json.dumps(json.loads(done.out))
    assert err in done.err


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("sweep --output json", True),
        ("sweep -ojson", True),
        ("explain json", False),
        ("sweep --output", False),
        ("explain -- --output json", False),
        ("sweep --policy --output json", True),
    ],
)
def test_json_is_requested_before_two_dashes_only(words, asked):
    assert json_requested(words.split()) is asked
