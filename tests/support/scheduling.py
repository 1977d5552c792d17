"""Which worker runs which test."""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

# In a module with this in it, what is made once for all its tests: fixtures, and the import of the vendors' SDKs (2 s).
ONCE = ('scope="module"', "tests.support.llm_classifiers")


class WholeModules(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps a module that makes something once for its tests on one worker; other tests go anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _stays_whole(self.config.rootpath / module) else nodeid


@cache
def _stays_whole(module: Path) -> bool:
    text = module.read_text("utf-8")
    return any(mark in text for mark in ONCE)
