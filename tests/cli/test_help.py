"""``--help`` and a wrong option are answered at once: no library is loaded for them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

COMMANDS = {
    entry.name: entry.value.split(":")[0]
    for entry in entry_points(group="console_scripts")
    if entry.value.startswith("dal_auto.cli.")
}
#: numpy is in the list for those that come with it: scipy, nibabel, pandas, SimpleITK, torch …
HEAVY = {"numpy", "torch", "pydantic", "jinja2", "PIL"}

ASK = """
import importlib, io, json, sys
from contextlib import redirect_stderr, redirect_stdout
answers = {}
for name, module in json.loads(sys.argv[1]).items():
    for words in (["--help"], ["--no-such-option"]):
        said = io.StringIO()
        try:
            with redirect_stdout(said), redirect_stderr(said):
                importlib.import_module(module).main(words)
        except SystemExit as end:
            answers[" ".join([name, *words])] = [end.code, said.getvalue(), sorted(sys.modules)]
print(json.dumps(answers))
"""


def test_help_and_a_wrong_option_load_no_library():
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(COMMANDS)],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert len(COMMANDS) == 7 and len(answers) == 2 * len(COMMANDS)
    for asked, (code, said, modules) in answers.items():
        assert code == (0 if asked.endswith("--help") else 2), asked
        assert said.startswith(f"usage: {asked.split()[0]}"), asked
        assert not HEAVY & set(modules), asked
