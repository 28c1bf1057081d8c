"""Other installed packages do not change how a policy is read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config" / "policy.yaml"
MODEL = "import pydantic; pydantic.create_model('M', x=(int, 1))"


@pytest.mark.parametrize(
    ("words", "loaded"),
    [(("-c", MODEL), True), (("-m", "invite_sweeper", "validate", str(CONFIG)), False)],
    ids=["another program", "ours"],
)
def test_plugin_of_the_library_that_reads_policies_is_not_loaded(tmp_path, words, loaded):
    (tmp_path / "spy.py").write_text(
        f"open({str(tmp_path / 'seen')!r}, 'w').close()\nplugin = None\n", encoding="utf-8"
    )
    info = tmp_path / "spy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: spy\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("PYDANTIC_DISABLE_PLUGINS", None)
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, check=False
    )
    assert (tmp_path / "seen").exists() is loaded
    if not loaded:
        assert done.returncode == 0
