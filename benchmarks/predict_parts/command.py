"""The project's commands, as a user starts them: a fresh process each."""

from __future__ import annotations

import sys


def command(name: str) -> list[str]:
    """How to start `name` ("dal_predict") with the Python that runs here."""
    module = name.removeprefix("dal_")
    code = f"import sys; from dal_auto.cli.{module} import main; sys.exit(main())"
    return [sys.executable, "-c", code]
