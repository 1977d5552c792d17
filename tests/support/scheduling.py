"""Which worker runs which test."""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling


class WholeModules(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Keeps a module that has fixtures of its own on one worker, which makes them once; other tests go anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _has_fixtures(self.config.rootpath / module) else nodeid


@cache
def _has_fixtures(module: Path) -> bool:
    return 'scope="module"' in module.read_text("utf-8")
