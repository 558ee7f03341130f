"""A corral scope for the time of a `with` block: every job that is submitted meanwhile, by this process or any program that it
starts, has ended when the block is left, and also when this process is killed, even by SIGKILL.

Needs nothing but the standard library, and `corral` in the PATH.
"""

import json
import os
import subprocess

# Runs in the scope, says which it is, and lives until our end of its standard input is closed: by us, or by the kernel.
HOLDER = 'echo "$CORRAL_SCOPE"; echo "$CORRAL_SOCKET"; exec cat >/dev/null'


class ScopeError(Exception):
    """The scope could not be opened, or something in it could not be ended."""


class CorralScope:
    def __init__(self, name=None, corral="corral"):
        named = [] if name is None else ["--name", name]
        self._command = [corral, "scope", "--json", *named, "--", "sh", "-c", HOLDER]
        self.id = None
        self.report = None  # After the block: what became of its jobs, as `corral scope --report ID --json` has it.

    def __enter__(self):
        # In a session of its own: Ctrl-C is for us, and the scope is closed when we are done.
        pipe = subprocess.PIPE
        self._holder = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        self.id = self._holder.stdout.readline().strip()
        socket = self._holder.stdout.readline().strip()
        if not self.id:
            raise ScopeError(self._holder.communicate()[1].strip())
        self.env = {"CORRAL_SCOPE": self.id, "CORRAL_SOCKET": socket}
        self._earlier = {name: os.environ.get(name) for name in self.env}
        os.environ.update(self.env)
        return self

    def __exit__(self, *_):
        for name, value in self._earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        said = self._holder.communicate()[1].strip().splitlines()  # Closes its standard input, and waits for its end.
        if not said or not said[-1].startswith("{"):
            raise ScopeError("\n".join(said) or "the scope ended without a word")
        self.report = json.loads(said[-1])
        if self.report["failed"] or self.report["processesLeft"]:
            raise ScopeError(f"scope {self.id} is not empty: {said[-1]}")
