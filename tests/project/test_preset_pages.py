"""Each preset has a page: what a user copies from it is short, and a configuration that holds."""

import re
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from tests.support.cli import Cli
from triage_cli.config import preset_names, schema, sources, webhooks

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
VALIDATOR = jsonschema_rs.Draft202012Validator(schema())
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def page(preset: str) -> str:
    path = HOWTO / f"{preset}.md"
    assert path.exists(), f"the preset {preset} has no page docs/howto/{preset}.md"
    return path.read_text()


def blocks(preset: str) -> list[str]:
    return BLOCK.findall(page(preset))


@pytest.mark.parametrize("preset", preset_names())
def test_a_page_says_what_is_needed_what_arrives_what_is_repeated_and_how_to_try_it(preset: str) -> None:
    text = page(preset)
    assert len(text.splitlines()) <= 40
    assert re.findall(r"^\*\*(.*?)\*\*", text, re.MULTILINE)[:2] == ["You need", "What arrives"]
    assert re.search(r"^\*\*What (is repeated safely|may arrive twice)\*\*", text, re.MULTILINE)
    assert f"triage doctor --send {next(iter(yaml.safe_load(blocks(preset)[0])['destinations']))}" in text
    assert f"| [{preset}]({preset}.md) |" in (HOWTO / "destinations.md").read_text()


@pytest.mark.parametrize("preset", preset_names())
def test_a_page_has_a_configuration_of_a_few_lines_that_passes_the_check(preset: str, cli: Cli) -> None:
    (text,) = blocks(preset)
    loaded = yaml.safe_load(text)
    ours = [name for name, keys in loaded["destinations"].items() if keys.get("preset") == preset]
    assert len(ours) == 1
    assert len(text.splitlines()) <= 10
    assert VALIDATOR.is_valid(loaded), "an editor would underline it"
    assert not VALIDATOR.is_valid(yaml.safe_load(text.replace(f"preset: {preset}", f"preset: {preset}s")))
    (cli.folder / "config.yaml").write_text(text)
    done = cli("config", "check")
    assert done.returncode == 0, done.stderr
    assert "no category reaches" not in done.stderr


@pytest.mark.parametrize(("name", "folder"), [("pull", sources.PRESETS), ("webhooks", webhooks.PRESETS)])
def test_the_page_of_sources_and_the_page_of_webhooks_list_their_presets(name: str, folder: Path) -> None:
    text = page(name)
    assert [preset for preset in preset_names(folder) if f"`{preset}`" not in text] == []
