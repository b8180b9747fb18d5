"""``equipoise keys``: the API keys that the gateway lets in."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from equipoise.cli.numbers import amount
from equipoise.cli.output import emit_json, note, say
from equipoise.cli.places import add_config_argument, storage_of
from equipoise.storage.keys import DEFAULT_TENANT, PREFIX, SCOPES, KeyInfo, KeyStore

_DAY_S = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    commands = parser.add_subparsers(dest="action", metavar="create|list|revoke", required=True)
    about = {
        "create": "a new key, shown this once: only its hash is kept",
        "list": "every key by its id; never the key itself",
        "revoke": "make a key worthless, within two seconds also in a running gateway",
    }
    subs = {action: commands.add_parser(action, help=text, description=text) for action, text in about.items()}
    create = subs["create"]
    create.add_argument("--name", metavar="N", required=True, help="what the key is for")
    create.add_argument("--tenant", metavar="T", default=DEFAULT_TENANT, help="whose it is (default: default)")
    create.add_argument(
        "--scopes", metavar="A,B", default="call,feedback", help=f"of {', '.join(SCOPES)} (default call,feedback)"
    )
    create.add_argument("--expires-days", metavar="D", type=amount, help="days until it expires (default: never)")
    subs["revoke"].add_argument("id", metavar="ID", help="as listed, such as eq-3fK9xQ2a")
    for sub in subs.values():
        add_config_argument(sub)
        sub.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    """0: done."""
    place = storage_of(args, must_exist=args.action != "create")
    with closing(KeyStore(place.url, folder=place.folder)) as keys:
        if args.action == "create":
            _create(keys, args)
        elif args.action == "revoke":
            info = keys.revoke(args.id, now=time.time())
            emit_json(_document(info)) if args.json else say(f"revoked {PREFIX}{info.id} ({info.name})")
        else:
            _list(keys.keys(), args.json, time.time())
    return 0


def _create(keys: KeyStore, args: argparse.Namespace) -> None:
    now = time.time()
    expires = None if args.expires_days is None else now + args.expires_days * _DAY_S
    scopes = [scope.strip() for scope in args.scopes.split(",") if scope.strip()]
    key, info = keys.create(name=args.name, tenant=args.tenant, scopes=scopes, expires=expires, now=now)
    if args.json:
        emit_json({"key": key, **_document(info)})
    else:
        say(key)
    note(f"this key is not shown again; its id is {PREFIX}{info.id}")


def _list(infos: list[KeyInfo], as_json: bool, now: float) -> None:
    if as_json:
        emit_json([_document(info) for info in infos])
        return
    if not infos:
        note("no keys; make one with: equipoise keys create --name NAME")
    for info in infos:
        say(f"{PREFIX}{info.id}  {_state(info, now):<20}  {info.tenant}  {','.join(sorted(info.scopes))}  {info.name}")


def _state(info: KeyInfo, now: float) -> str:
    if info.revoked is not None:
        return f"revoked {_day(info.revoked)}"
    if info.expires is None:
        return "valid"
    return f"{'expired' if now >= info.expires else 'until'} {_day(info.expires)}"


def _day(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).date().isoformat()


def _document(info: KeyInfo) -> dict[str, Any]:
    return {**info._asdict(), "id": PREFIX + info.id, "scopes": sorted(info.scopes)}
