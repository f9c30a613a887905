"""Write the reference pages that are lists: commands and settings, from the program itself. `make docs` runs it.

`--check` writes nothing and ends with 1 when a page is not what the program would say.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from alphakite.cli.main import COMMANDS, EXIT_CODES, TAKES_SETTING_FLAGS, build
from alphakite.config import RESERVED
from alphakite.setting_specs import SPECS

REFERENCE = Path(__file__).parent / "reference"
GENERATED = "<!-- Written by docs/generate.py: change the program, then `make docs`. -->"
SETTINGS_GROUP = "settings"


def commands_page() -> str:
    """Every command with its flags."""
    parts = [
        "# Commands",
        GENERATED,
        f"Results go to stdout, all else to stderr. {EXIT_CODES[0].upper()}{EXIT_CODES[1:]}.",
    ]
    for name, about in COMMANDS.items():
        parts += [f"## alphakite {name}", f"{about[0].upper()}{about[1:]}.", *_flags(_parser(build(name), name))]
        if name in TAKES_SETTING_FLAGS:
            parts.append(
                "Every setting that is no secret is a flag too, `--batch-size` for `BATCH_SIZE`; see"
                " [settings](settings.md)."
            )
    return "\n\n".join(parts) + "\n"


def settings_page() -> str:
    """Every setting with its default and what is legal."""
    rows = []
    for name, spec in SPECS.items():
        default = f"`{spec.default}`" if spec.default else "not set"
        rows.append(f"| `{name}` | {default} | {spec.legal}{'; secret' if spec.secret else ''} |")
    parts = [
        "# Settings",
        GENERATED,
        "Sources, the first wins: flag, environment, the file of `--env-file` (else `.env` in the current folder), "
        "default. An empty value is none. `.env.example` says what each is for; `alphakite config` shows what holds.",
        "\n".join(["| name | default | legal |", "|---|---|---|", *rows]),
        f"Accepted for later versions, without effect: {', '.join(f'`{name}`' for name in RESERVED)}.",
    ]
    return "\n\n".join(parts) + "\n"


PAGES = {"commands.md": commands_page, "settings.md": settings_page}


def main(argv: list[str]) -> int:
    """Write the pages, or compare them."""
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if "--check" not in argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
    for name in stale:
        print(f"docs/reference/{name} is out of date; next: make docs", file=sys.stderr)
    return 1 if stale else 0


def _parser(parser: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found = action.choices[name]
            assert isinstance(found, argparse.ArgumentParser)
            return found
    raise LookupError(name)


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """A table of the flags and positional arguments, then that of each sub-command."""
    found: list[str] = []
    rows = []
    for group in parser._action_groups:
        if (group.title or "").startswith(SETTINGS_GROUP):
            continue
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, below in action.choices.items():
                    found += [f"### {name}", *_flags(below)]
            elif not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
                rows.append(f"| `{_spelling(action)}` | {_meaning(action)} |")
    return (["\n".join(["| argument | meaning |", "|---|---|", *rows])] if rows else []) + found


def _spelling(action: argparse.Action) -> str:
    values = [str(choice) for choice in action.choices] if action.choices is not None else []
    value = action.metavar if isinstance(action.metavar, str) else "\\|".join(values) or action.dest.upper()
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def _meaning(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default)).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
