"""The terminal's text of each scene at 60, 80 and 140 columns, and whether it is true."""

import re

import pytest
from report.claims import check_json, check_last_hash, check_text
from report.page_scenes import SCENES
from report.recording import WIDTHS, Played
from report.snapshots import assert_snapshot, mask
from rich.cells import cell_len

NEVER_WRAPPED = re.compile(
    r"(?:\S+ \[(?:warning|error) |Show all: |What to do: |Audit  |Last hash +[0-9a-f]{64}$|Error: "
    r"|  [A-Z]|(?:Dry run of a r|R)estore of run |Atlas adds |This log |[\d,]+ user|Warning: "
    r"|audit|invite-sweeper|A sweep refuses|Dry run: )"
)


def session(played: tuple[Played, ...], width: int) -> str:
    """Return the commands of a scene as they look on a terminal of this width."""
    return "\n".join(
        f"$ invite-sweeper {' '.join(each.words)}\n{each.texts[width]}" for each in played
    )


@pytest.mark.parametrize("name", SCENES)
def test_text_matches_its_snapshot_and_fits_the_terminal(scene, name):
    found = scene(name).played
    for each in found:
        for width, text in each.texts.items():
            for line in text.splitlines():
                assert cell_len(line) <= width or NEVER_WRAPPED.match(line), line
                assert line == line.rstrip(), line
    text = "\n".join(f"===== {width} columns\n\n{session(found, width)}" for width in WIDTHS)
    assert_snapshot(f"scenes/{name}", mask(text))


@pytest.mark.parametrize("name", SCENES)
def test_recorded_text_is_what_the_program_printed(scene, name):
    for each in scene(name).played:
        assert set(each.out.splitlines()) <= set(each.texts[80].splitlines())


@pytest.mark.parametrize("name", SCENES)
def test_every_sentence_is_true_of_the_simulated_atlas(scene, name):
    for each in runs(scene(name)):
        check_text(name, each, each.texts[140])


@pytest.mark.parametrize("name", SCENES)
def test_json_is_true_of_the_simulated_atlas(scene, name):
    found = scene(name)
    for each in runs(found):
        if each.result:
            check_json(name, each, each.result)
        if "audit_last_hash" in each.result:
            check_last_hash(found.log.read_bytes().splitlines(), each.result)


def runs(found) -> list[Played]:
    return [each for each in found.played if each.words[0] != "audit"]


@pytest.mark.parametrize(
    ("name", "sentence", "lie"),
    [
        ("clean", "12 deleted", "11 deleted"),
        ("clean", "12 deleted", "12 deleted, 1 revoked"),
        ("clean", "Done  ", "Failed"),
        ("clean", "(5efda682a3f2ed2e7dd6cde4)", "(5efda682a3f2ed2e7dd6cde5)"),
        ("clean", "15 invitations", "16 invitations"),
        ("partly_done", "wkzjqvtb    failed", "wkzjqvtb    deleted"),
        ("partly_done", "wkzjqvtb    deleted", "wkzjqvtb    failed "),
        ("dry_run", "12 invitations would be", "13 invitations would be"),
        ("dry_run", "would be deleted", "were deleted"),
        ("refused_dry_run", "in 1 project of", "in 2 projects of"),
        ("deadline_while_deleting", "  The audit log is complete.", "  Nothing was deleted."),
        ("two_first_fails", "1 of 2 organizations", "2 of 2 organizations"),
        ("two_clean", "4 stale, 4 deleted", "4 stale, nothing was deleted"),
        ("two_fail", "Nothing was deleted there.", "Nothing was deleted yet."),
        ("restore_dry", "12 of 12 would be", "11 of 12 would be"),
        ("restore_real", "Done: 10 restored", "Done: 12 restored"),
        ("restore_active", "1 user is active now", "2 users are active now"),
        ("changed_plan", "2 still stale", "3 still stale"),
        ("six_thousand", "6,000 in 40 projects", "6,000 in 41 projects"),
    ],
)
def test_sentence_that_is_not_true_is_noticed(scene, name, sentence, lie):
    found = runs(scene(name))[-1]
    text = found.texts[140]
    assert sentence in text
    with pytest.raises(AssertionError):
        check_text(name, found, text.replace(sentence, lie, 1))
