"""Outputs to files: none overwrites a file that a run needs, or a foreign one, under any name."""

import shutil

import pytest


@pytest.fixture
def cli(cli):
    """A policy, a foreign file, an empty folder, and other names of files."""
    cli.stock()
    policy = cli.write_policy()
    letter = cli.folder / "letter"
    letter.write_text("dear all,\n", encoding="utf-8")
    (cli.folder / "taken").mkdir()
    links = {"link": letter, "policy-link": policy, "audit-link": cli.audit_dir, "loop": "loop"}
    for name, target in links.items():
        (cli.folder / name).symlink_to(target)
    (cli.folder / "hard-link").hardlink_to(policy)
    return cli


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--out", "hard-link", "would overwrite a file that is not a"),
        ("--metrics-file", "policy-link", "would overwrite a file that is not a"),
        ("--out", "letter", "would overwrite a file that is not a"),
        ("--metrics-file", "link", "would overwrite a file that is not a"),
        ("--out", "x/../audit/HEAD", "is in the audit directory"),
        ("--metrics-file", "audit-link/new", "is in the audit directory"),
        ("--metrics-file", "taken", "is a directory"),
        ("The plan", "policy.yaml/plan.jsonl", "cannot be written"),
        ("The plan", "n" * 256, "cannot be written"),
        ("The plan", "loop", "cannot be written"),
    ],
)
def test_output_to_a_place_that_is_not_for_it_is_refused_and_all_files_stay(
    cli, option, place, message
):
    before = (cli.folder / "hard-link").read_bytes()
    done = cli.plan("--out" if option == "The plan" else option, place)
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, []), done.err
    assert f"{option} {place} {message}" in done.err
    assert "Atlas was not called." in done.err
    assert (cli.folder / "letter").read_text() == "dear all,\n"
    assert (cli.folder / "hard-link").read_bytes() == before
    assert (cli.folder / "link").is_symlink()
    assert not cli.audit_dir.exists()


def test_two_outputs_to_one_file_and_one_over_the_plan_in_use_are_refused(cli):
    assert cli.plan("--out", "plan.jsonl").code == 0
    for words, message in (
        (("--out", "a", "--metrics-file", "./a"), "--out a would overwrite --metrics-file a"),
        (
            ("--plan", "plan.jsonl", "--metrics-file", "plan.jsonl"),
            "--metrics-file plan.jsonl would overwrite a file that is not a metrics",
        ),
        (
            ("--plan", "plan.jsonl", "--out", "./plan.jsonl"),
            "--out plan.jsonl would overwrite the plan plan.jsonl",
        ),
    ):
        done = cli.sweep(*words)
        assert (done.code, message in done.err) == (2, True), done.err


def test_output_over_an_empty_file_or_an_earlier_output_is_written(cli):
    places = [cli.folder / name for name in ("plan.jsonl", "policy.yaml.prom", "report")]
    for place in places:
        place.touch()
    before = {*cli.folder.iterdir()}
    written = [b""] * 3
    for _ in range(2):  # a report of one run is named after it, that of several after the nights
        assert cli.plan("--out", "plan.jsonl", "--metrics-file", "policy.yaml.prom").code == 0
        assert cli.run("report", "--out", "report").code == 0
        latest = [place.read_bytes() for place in places]
        assert not {*written} & {*latest}
        written = latest
    assert {*cli.folder.iterdir()} == before | {cli.audit_dir}


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("letter", "would overwrite a file that is not a report"),
        ("head", "would overwrite a file that is not a report"),
        ("audit-link/new", "is in the audit directory"),
        ("audit/report.html", "is in the audit directory"),
    ],
)
def test_report_over_any_other_file_is_refused(cli, out, message):
    assert cli.sweep().code == 0
    (cli.folder / "head").hardlink_to(cli.audit_dir / "HEAD")
    done = cli.run("report", "--out", out)
    assert (done.code, f"--out {out} {message}" in done.err) == (2, True), done.err
    assert (cli.folder / "letter").read_text() == "dear all,\n"
    assert cli.run("audit", "verify").code == 0


def test_a_plan_replaces_a_plan_and_a_copy_of_its_own_run_and_no_other_sweep(cli):
    other = ("--audit-dir", "elsewhere/audit")
    assert cli.plan(*other, "--out", "plan.jsonl").code == 0
    assert cli.sweep("--out", "plan.jsonl").code == 0  # over the plan of another directory
    assert cli.sweep("--out", "plan.jsonl").code == 0  # over the copy of a sweep of its own
    assert cli.sweep(*other).code == 0
    swept = cli.folder / "swept.jsonl"
    shutil.copy(next((cli.folder / "elsewhere/audit").glob("000002-*")), swept)
    before = swept.read_bytes()
    for run in (cli.plan, cli.sweep):
        done = run("--out", swept.name)
        assert (done.code, done.has_result) == (2, False)
        assert "--out swept.jsonl would overwrite a file that is not a plan" in done.err
    assert swept.read_bytes() == before


@pytest.mark.parametrize("number", ["000001", "000009"])
def test_output_to_a_file_of_a_run_in_another_audit_directory_is_refused(cli, number):
    assert cli.sweep().code == 0
    shutil.copytree(cli.audit_dir, cli.folder / "copy")
    place = f"copy/{number}{cli.log_path.name[6:]}"
    done = cli.plan("--out", place)
    assert (done.code, f"--out {place} is in the audit directory" in done.err) == (2, True)
    assert cli.run("audit", "verify", "copy").code == 0
