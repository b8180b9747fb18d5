"""Writes what the documentation takes from the code: tables of routers and policies, and the pages of the commands.

python docs/generate.py            write
python docs/generate.py --check    exit status 1 if something is out of date
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from equipoise import registry
from equipoise.cli.main import COMMANDS

HERE = Path(__file__).parent


def generated() -> dict[str, str]:
    """Every generated block, by its name."""
    return {
        "routers": _catalogue(registry.routers()),
        "policies": _catalogue(registry.policies()),
        "commands": _commands(),
    }


def filled(text: str, blocks: Mapping[str, str]) -> str:
    """The page with the text between ``<!-- generated: NAME -->`` and ``<!-- /generated -->`` replaced."""
    pattern = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}\n{blocks[found[2]]}\n{found[3]}", text)


def pages() -> dict[Path, str]:
    """Every page that holds a generated block, as it should be."""
    blocks = generated()
    found = {page: page.read_text(encoding="utf-8") for page in sorted(HERE.glob("*.md"))}
    return {page: filled(text, blocks) for page, text in found.items() if "<!-- generated: " in text}


# ---------------------------------------------------------------- routers and policies


def _catalogue(known: Mapping[str, type[Any]]) -> str:
    """For every class its first paragraph, what it reads, and a table of its parameters."""
    return "\n".join(_section(name, cls) for name, cls in known.items())


def _section(name: str, cls: type[Any]) -> str:
    doc = inspect.getdoc(cls) or ""
    about, meanings = doc.split("\nArgs:")[0].strip(), _arguments(doc)
    reads = sorted(getattr(cls, "needs", ()))
    lines = [f"### `{name}`", "", _paragraphs(about), ""]
    if reads:
        lines += ["Reads: " + ", ".join(f"`{feature}`" for feature in reads) + ".", ""]
    parameters = registry.parameters(cls)
    if not parameters:
        return "\n".join([*lines, "No parameters.", ""])
    lines += ["| parameter | default | |", "|---|---|---|"]
    for parameter, (_, default) in parameters.items():
        shown = "required" if default is dataclasses.MISSING else f"`{_plain(default)}`"
        lines.append(f"| `{parameter}` | {shown} | {_cell(meanings.get(parameter, ''))} |")
    return "\n".join([*lines, ""])


def _arguments(doc: str) -> dict[str, str]:
    """Parameter to meaning, from the ``Args:`` of a docstring."""
    _, _, rest = doc.partition("\nArgs:\n")
    found: dict[str, str] = {}
    for line in rest.splitlines():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            found[start[1]] = start[2]
        elif line.startswith("        ") and found:
            last = next(reversed(found))
            found[last] += " " + line.strip()
        elif line.strip():
            break
    return found


def _paragraphs(text: str) -> str:
    """A docstring as Markdown: double backquotes become single ones, continuations are joined, terms make a list."""
    text = re.sub(r"\n {3,}", " ", text).replace("``", "`")
    return re.sub(r"^(`\w+`: )", r"- \1", text, flags=re.MULTILINE)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


# ---------------------------------------------------------------- commands


def _commands() -> str:
    """A section for every command, from what its parser knows."""
    parts = []
    for name, about in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=f"equipoise {name}", description=about)
        importlib.import_module(f"equipoise.cli.{name}").add_arguments(parser)
        parts += [f"## equipoise {name}", "", _sentence(about), ""]
        parts += list(_described(parser))
    return "\n".join(parts)


def _described(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Usage and a table of one parser, then its sub-commands."""
    subs = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    for sub in subs:
        about = {choice.dest: choice.help for choice in sub._choices_actions}
        for name, inner in sub.choices.items():
            yield from (f"### {inner.prog}", "", _sentence(inner.description or about.get(name) or ""), "")
            yield from _described(inner)
    if subs:
        return
    rows = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
    required = " ".join(_usage(a) for a in rows if a.required or not a.option_strings)
    optional = " [options]" if any(a.option_strings and not a.required for a in rows) else ""
    yield from ("```text", f"{parser.prog} {required}{optional}".replace("  ", " "), "```", "")
    yield from ("| option | |", "|---|---|")
    for action in rows:
        yield f"| {_code(_spelled(action))} | {_cell(action.help or '')} |"
    yield ""


def _usage(action: argparse.Action) -> str:
    text = _spelled(action)
    return text if action.required else f"[{text}]"


def _spelled(action: argparse.Action) -> str:
    """``--out FILE``, ``TABLE`` or ``--split {random,dataset}``."""
    value = str(
        action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper())
    )
    if not action.option_strings:
        return value
    return action.option_strings[-1] + ("" if action.nargs == 0 else f" {value}")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _code(text: str) -> str:
    """As code in a cell. GitHub ends a cell at a bar in code, too, and MkDocs would show its backslash."""
    return f"<code>{text.replace('|', '&#124;').replace('*', '&#42;')}</code>" if "|" in text else f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").removesuffix(".")


def main() -> int:
    """0: everything is up to date, or was written."""
    stale = {page: text for page, text in pages().items() if page.read_text(encoding="utf-8") != text}
    check = "--check" in sys.argv[1:]
    for page, text in stale.items():
        sys.stdout.write(f"{page.name}: {'out of date; run: python docs/generate.py' if check else 'written'}\n")
        if not check:
            page.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
