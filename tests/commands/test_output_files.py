"""Outputs to files: none overwrites a file that a run needs, or a foreign one, under any name."""

import shutil

import pytest


@pytest.fixture
def cli(cli):
    cli.stock()
    return cli


def refused(cli, done, *messages):
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, []), done.err
    for message in (*messages, "Atlas was not called."):
        assert message in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("option", "target", "name", "message"),
    [
        ("--out", "policy.yaml", "hard-link", "would overwrite a file that is not a"),
        ("--metrics-file", "policy.yaml", "link", "would overwrite a file that is not a"),
        ("--out", "letter", "letter", "would overwrite a file that is not a"),
        ("--metrics-file", "letter", "link", "would overwrite a file that is not a"),
    ],
)
def test_output_over_another_file_is_refused_and_the_file_stays(cli, option, target, name, message):
    (cli.folder / "letter").write_text("dear all,\n", encoding="utf-8")
    cli.write_policy()
    file = cli.folder / target
    (cli.folder / "link").symlink_to(file)
    (cli.folder / "hard-link").hardlink_to(file)
    before = file.read_bytes()
    refused(cli, cli.plan(option, name), f"{option} {name} {message}")
    assert file.read_bytes() == before
    assert (cli.folder / "link").is_symlink()


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--out", "x/../audit/HEAD", "is in the audit directory"),
        ("--metrics-file", "link/new", "is in the audit directory"),
        ("--metrics-file", "taken", "is a directory"),
    ],
)
def test_output_to_a_place_that_is_not_for_it_is_refused(cli, option, place, message):
    (cli.folder / "link").symlink_to("audit")
    (cli.folder / "taken").mkdir()
    refused(cli, cli.sweep(option, place), f"{option} {place} {message}")
    assert not cli.audit_dir.exists()


@pytest.mark.parametrize("place", ["policy.yaml/plan.jsonl", "n" * 256, "loop"], ids=str)
def test_unwritable_path_of_a_plan_is_refused(cli, place):
    (cli.folder / "loop").symlink_to("loop")
    done = cli.run("plan", "--policy", "policy.yaml", "--output", "json", "--out", place)
    refused(cli, done, f"The plan {place} cannot be written")
    assert not cli.run_files()


def test_two_outputs_to_one_file_and_one_over_the_plan_in_use_are_refused(cli):
    done = cli.sweep("--out", "one", "--metrics-file", "./one")
    refused(cli, done, "--out one would overwrite --metrics-file one")
    assert cli.plan("--out", "plan.jsonl").code == 0
    done = cli.sweep("--plan", "plan.jsonl", "--metrics-file", "plan.jsonl")
    assert done.code == 2
    assert "--metrics-file plan.jsonl would overwrite a file that is not a metrics" in done.err
    done = cli.sweep("--plan", "plan.jsonl", "--out", "./plan.jsonl")
    assert done.code == 2
    assert "--out plan.jsonl would overwrite the plan plan.jsonl" in done.err


def test_output_over_an_empty_file_or_an_earlier_output_is_written(cli):
    outputs = {"--out": "plan.jsonl", "--metrics-file": "policy.yaml.prom"}
    words = [word for pair in outputs.items() for word in pair]
    places = [cli.folder / name for name in outputs.values()]
    for place in places:
        place.touch()
    assert cli.plan(*words).code == 0
    first = [place.read_bytes() for place in places]
    assert all(first)
    assert cli.plan(*words).code == 0
    assert not {*first} & {place.read_bytes() for place in places}
    found = sorted(path.name for path in cli.folder.iterdir())
    assert found == ["audit", "plan.jsonl", "policy.yaml", "policy.yaml.prom"]


def report_refused(cli, what, out, message):
    """Run a report on a file or a policy, whose output is refused and changes nothing."""
    (cli.folder / "token").write_text("a mounted secret", encoding="utf-8")
    path = cli.folder / out
    before = path.read_bytes() if path.exists() else None
    done = cli.run("report", *what, "--out", out)
    assert done.code == 2
    assert f"--out {out} {message}" in done.err
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("token", "would overwrite a file that is not a report"),
        ("hard-link", "would overwrite a file that is not a report"),
        ("link", "is in the audit directory"),
        ("audit/report.html", "is in the audit directory"),
    ],
)
def test_report_over_any_other_file_is_refused(cli, out, message):
    assert cli.sweep().code == 0
    (cli.folder / "link").symlink_to(cli.log_path)
    (cli.folder / "hard-link").hardlink_to(cli.audit_dir / "HEAD")
    report_refused(cli, ("--policy", "policy.yaml"), out, message)


@pytest.mark.parametrize(("form", "runs"), [("html", 1), ("md", 2)])
def test_report_over_an_earlier_report_or_an_empty_file_is_written(cli, form, runs):
    """That of one run is named after it, that of several nights after the nights."""
    for _ in range(runs):
        assert cli.sweep().code == 0
    out = cli.folder / "report"
    out.touch()
    for command in (cli.plan, cli.sweep):
        before = out.read_bytes()
        done = cli.run("report", "--policy", "policy.yaml", "--format", form, "--out", "report")
        assert (done.code, out.read_bytes() == before) == (0, False), done.err
        command()


def test_a_plan_replaces_a_plan_and_a_copy_of_its_own_run_and_no_other_sweep(cli):
    other = ("--audit-dir", "elsewhere/audit")
    assert cli.plan(*other, "--out", "plan.jsonl").code == 0
    assert cli.sweep("--out", "plan.jsonl").code == 0  # over the plan of another directory
    assert cli.sweep("--out", "plan.jsonl").code == 0  # over the copy of a sweep of its own
    assert cli.sweep(*other).code == 0
    swept = cli.folder / "swept.jsonl"
    shutil.copy(next((cli.folder / "elsewhere/audit").glob("000002-*")), swept)
    (cli.folder / "link").symlink_to(swept)
    before = swept.read_bytes()
    for name in (str(swept), "link"):
        for run in (cli.plan, cli.sweep):
            done = run("--out", name)
            assert (done.code, done.has_result) == (2, False)
            assert f"--out {name} would overwrite a file that is not a plan" in done.err
    assert swept.read_bytes() == before


@pytest.mark.parametrize("number", ["000001", "000009"])
def test_output_to_a_file_of_a_run_in_another_audit_directory_is_refused(cli, number):
    assert cli.sweep().code == 0
    shutil.copytree(cli.audit_dir, cli.folder / "copy")
    taken = cli.folder / "copy" / cli.log_path.name
    before = taken.read_bytes()
    file = taken.with_name(f"{number}{taken.name[6:]}")
    done = cli.plan("--out", str(file))
    assert done.code == 2
    assert f"--out {file} is in the audit directory" in done.err
    assert taken.read_bytes() == before
    assert len(list(taken.parent.glob("*.jsonl"))) == 1
