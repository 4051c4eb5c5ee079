"""``guerdon models``: what a service serves, and which version its names mean."""

import argparse
from datetime import UTC, datetime
from typing import Any

from guerdon.cli.service_args import add_verb
from guerdon.cli.table import format_table
from guerdon.client import Client
from guerdon.types import AliasChange, ModelHistory, ModelInfo, ModelVersion, RegisteredModel


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models",
        help="list, register, promote and roll back versions of models, remove aliases",
        description="Ask a running service about its models, and change which version a name means.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add_verb(verbs, "list", "models that are served", _list, _show_models)
    add_verb(verbs, "registered", "every registered name, loaded or not", _registered, _show_registered)
    register = add_verb(verbs, "register", "store an artifact as a version", _register, _show_version, "NAME")
    register.add_argument("source", metavar="SOURCE", help="folder on the service's machine, or a URL")
    promote = add_verb(
        verbs, "promote", "point an alias at a version, if the gate allows it", _promote, _show_change, "NAME"
    )
    promote.add_argument("version", metavar="VERSION")
    promote.add_argument(
        "--evaluation", metavar="ID", help="a finished evaluation against the current version"
    )
    promote.add_argument("--override", metavar="REASON", help="promote although the gate refuses; kept")
    rollback = add_verb(
        verbs, "rollback", "point an alias back at the version before", _rollback, _show_change, "NAME"
    )
    remove = add_verb(
        verbs, "remove-alias", "take an alias away; not champion", _remove, _show_change, "NAME", "ALIAS"
    )
    for undoing in (rollback, remove):
        undoing.add_argument("--reason", required=True, help="why; it is kept")
    for changing in (promote, rollback):
        changing.add_argument("--alias", help="which alias (champion)")
    add_verb(verbs, "card", "the model card of a version, as Markdown", _card, _show_card, "NAME", "VERSION")
    add_verb(verbs, "history", "versions, aliases and changes", _history, _show_history, "NAME")


def _list(client: Client, args: argparse.Namespace) -> tuple[ModelInfo, ...]:
    return client.models()


def _registered(client: Client, args: argparse.Namespace) -> tuple[RegisteredModel, ...]:
    return client.registered_models()


def _register(client: Client, args: argparse.Namespace) -> ModelVersion:
    return client.register(args.name, args.source)


def _promote(client: Client, args: argparse.Namespace) -> AliasChange:
    return client.promote(
        args.name,
        args.version,
        alias=args.alias,
        evaluation_id=args.evaluation,
        override_reason=args.override,
    )


def _rollback(client: Client, args: argparse.Namespace) -> AliasChange:
    return client.rollback(args.name, args.reason, alias=args.alias)


def _remove(client: Client, args: argparse.Namespace) -> AliasChange:
    return client.remove_alias(args.name, args.alias, args.reason)


def _card(client: Client, args: argparse.Namespace) -> dict[str, str]:
    card = client.model_card(args.name, args.version)
    return {"name": args.name, "version": args.version, "card": card}


def _history(client: Client, args: argparse.Namespace) -> ModelHistory:
    return client.history(args.name)


def _show_models(models: tuple[ModelInfo, ...]) -> str:
    header = ("model", "version", "aliases", "digest", "state", "backend", "dtype")
    return format_table(
        [header]
        + [
            (m.name, m.version, ", ".join(m.aliases), m.digest[:12], m.state, m.backend, m.dtype)
            for m in models
        ]
    )


def _show_registered(models: tuple[RegisteredModel, ...]) -> str:
    rows = [(m.name, m.kind, ", ".join(f"{alias}: {it}" for alias, it in m.aliases.items())) for m in models]
    return format_table([("model", "kind", "aliases"), *rows])


def _show_version(version: ModelVersion) -> str:
    return f"{version.name}@{version.version} {version.digest[:12]}, registered by {version.registered_by}"


def _show_change(change: AliasChange) -> str:
    new = [f"  {change.alias} is a new alias of {change.name}"] if change.previous is None else []
    checks = [f"  {_mark(check.passed)} {check.name}: {check.detail}" for check in change.checks]
    return "\n".join([_change_line(change), *new, *checks])


def _show_card(found: dict[str, str]) -> str:
    return found["card"]


def _show_history(history: ModelHistory) -> str:
    pointing: dict[str, list[str]] = {}
    for alias, version in history.aliases.items():
        pointing.setdefault(version, []).append(alias)
    rows = [
        (
            v.version,
            ", ".join(pointing.get(v.version, ())),
            v.digest[:12],
            _time(v.registered_at),
            v.registered_by,
        )
        for v in history.versions
    ]
    table = format_table([("version", "aliases", "digest", "registered", "by"), *rows])
    return "\n".join([table, "", *map(_change_line, history.changes)])


def _change_line(change: AliasChange) -> str:
    reason = f": {change.reason}" if change.reason else ""
    evidence = f", on {change.evaluation_id}" if change.evaluation_id else ""
    now = "none" if change.action == "remove" else change.version
    return (
        f"{_time(change.at)} {change.action} {change.name}@{change.alias}: {change.previous or 'none'} -> "
        f"{now}, by {change.by}{evidence}{reason}"
    )


def _mark(passed: bool | None) -> str:
    return {True: "passed ", False: "FAILED ", None: "not asked"}[passed]


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
