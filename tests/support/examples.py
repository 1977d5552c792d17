"""With how many examples a property is tried: few in the suite, all of them by `--hypothesis-profile=long`."""

from hypothesis import settings


def examples(few: int, many: int) -> settings:
    """Return the settings of a property that is tried with so many examples."""
    return settings(max_examples=many if settings.get_current_profile_name() == "long" else few, deadline=None)
