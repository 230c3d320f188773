# SPDX-License-Identifier: MIT
"""What tox.ini cannot say: environments whose Python is fetched, or built, where the machine has none.

``runner = fetched`` makes an environment one of them; all else is as in any other.
"""

import os
import sys
from pathlib import Path

from tox.plugin import impl
from tox.tox_env.errors import Skip
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister

sys.path.append(str(Path(__file__).parent / "tools"))

from programs import SkipError
from pythons import find


class FetchedRunner(VirtualEnvRunner):
    """An environment with a Python of ``tools/pythons.py``, or skipped with the reason why there is none."""

    @staticmethod
    def id() -> str:
        """Return what tox.ini calls it."""
        return "fetched"

    def virtualenv_env_vars(self) -> dict[str, str]:
        """Return the environment in which the Python is looked up: where it is comes first."""
        variables = super().virtualenv_env_vars()
        try:
            python = find(self.name)
        except SkipError as reason:
            raise Skip(str(reason)) from None
        others = variables.get("VIRTUALENV_TRY_FIRST_WITH")
        return variables | {"VIRTUALENV_TRY_FIRST_WITH": os.pathsep.join(filter(None, (str(python), others)))}


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Tell tox of it."""
    register.add_run_env(FetchedRunner)
