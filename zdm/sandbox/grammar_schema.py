"""CREATE, ALTER, DROP and DESCRIBE into statements."""

from __future__ import annotations

from zdm.sandbox.failures import invalid
from zdm.sandbox.parser import Parser
from zdm.sandbox.statements import (
    AlterTable,
    AlterType,
    ColumnDefinition,
    CreateIndex,
    CreateKeyspace,
    CreateTable,
    CreateType,
    Describe,
    Drop,
    Option,
    Statement,
    TableName,
    TypeName,
    Unsupported,
)


def statement(parser: Parser) -> Statement | None:
    """The schema statement that comes next, or None if the first word is none of theirs."""
    if parser.take_word("create"):
        return _create(parser)
    if parser.take_word("alter"):
        return _alter(parser)
    if parser.take_word("drop"):
        return _drop(parser)
    if parser.take_word("describe") or parser.take_word("desc"):
        return _describe(parser)
    return None


def _create(parser: Parser) -> Statement:
    if parser.take_word("keyspace") or parser.take_word("schema"):
        return _keyspace(parser, is_alter=False)
    if parser.take_word("table") or parser.take_word("columnfamily"):
        return _table(parser)
    if parser.take_word("type"):
        return _type(parser)
    is_custom = parser.take_word("custom")
    if parser.take_word("index"):
        return _index(parser, is_custom)
    return _unsupported(parser, "CREATE")


def _unsupported(parser: Parser, verb: str) -> Statement:
    """Views, functions, triggers, roles: known to the grammar, not done here."""
    parser.take_word("or", "replace")
    for word in ("materialized", "function", "aggregate", "trigger", "role", "user"):
        if parser.at_word(word):
            return Unsupported(f"{verb} {word.upper()}")
    raise parser.fault()


def _if_not_exists(parser: Parser) -> bool:
    if not parser.take_word("if"):
        return False
    parser.expect_word("not", "exists")
    return True


def _if_exists(parser: Parser) -> bool:
    if not parser.take_word("if"):
        return False
    parser.expect_word("exists")
    return True


def _keyspace(parser: Parser, is_alter: bool) -> CreateKeyspace:
    guard = _if_exists(parser) if is_alter else _if_not_exists(parser)
    name = parser.name()
    parser.expect_word("with")
    return CreateKeyspace(name, parser.options(), guard, is_alter)


def _table(parser: Parser) -> CreateTable:
    guard = _if_not_exists(parser)
    table = parser.table_name()
    parser.expect_symbol("(")
    columns: list[ColumnDefinition] = []
    keys: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    while True:
        if parser.take_word("primary"):
            parser.expect_word("key")
            keys.append(_primary_key(parser))
        else:
            column = ColumnDefinition(parser.name(), parser.type_name(), parser.take_word("static"))
            columns.append(column)
            if parser.take_word("primary"):
                parser.expect_word("key")
                keys.append(((column.name,), ()))
        if parser.take_symbol(")"):
            break
        parser.expect_symbol(",")
    if not keys:
        raise invalid(f"No PRIMARY KEY specifed for table '{table}' (exactly one required)")
    if len(keys) > 1:
        raise invalid(f"Multiple PRIMARY KEYs specified for table '{table}' (exactly one required)")
    order, options = _table_options(parser)
    text = options.pop("id", None)
    table_id = text if isinstance(text, str) else None
    return CreateTable(table, tuple(columns), keys[0][0], keys[0][1], order, options, guard, table_id)


def _primary_key(parser: Parser) -> tuple[tuple[str, ...], tuple[str, ...]]:
    parser.expect_symbol("(")
    if parser.take_symbol("("):
        partition = parser.separated(parser.name, ")")
    else:
        partition = (parser.name(),)
    clustering: list[str] = []
    while parser.take_symbol(","):
        clustering.append(parser.name())
    parser.expect_symbol(")")
    return partition, tuple(clustering)


def _table_options(parser: Parser) -> tuple[tuple[tuple[str, bool], ...], dict[str, Option]]:
    order: tuple[tuple[str, bool], ...] = ()
    options: dict[str, Option] = {}
    if not parser.take_word("with"):
        return order, options
    while True:
        if parser.take_word("clustering", "order", "by"):
            parser.expect_symbol("(")
            order = parser.separated(lambda: _ordering(parser), ")")
        elif parser.take_word("compact"):
            parser.expect_word("storage")
            raise invalid("COMPACT STORAGE tables are not allowed starting with version 4.0")
        else:
            name = parser.name()
            parser.expect_symbol("=")
            options[name] = parser.option()
        if not parser.take_word("and"):
            return order, options


def _ordering(parser: Parser) -> tuple[str, bool]:
    column = parser.name()
    descends = parser.take_word("desc")
    if not descends:
        parser.take_word("asc")
    return column, descends


def _field(parser: Parser) -> tuple[str, TypeName]:
    return parser.name(), parser.type_name()


def _type(parser: Parser) -> CreateType:
    guard = _if_not_exists(parser)
    name = parser.table_name()
    parser.expect_symbol("(")
    return CreateType(name, parser.separated(lambda: _field(parser), ")"), guard)


def _index(parser: Parser, is_custom: bool) -> CreateIndex:
    guard = _if_not_exists(parser)
    name = None if parser.at_word("on") else parser.table_name().name
    parser.expect_word("on")
    table = parser.table_name()
    parser.expect_symbol("(")
    target = "values"
    for word in ("keys", "values", "entries", "full"):
        following = parser.peek(1)
        if parser.at_word(word) and following is not None and following.text == "(":
            parser.position += 2
            target = word
            column = parser.name()
            parser.expect_symbol(")")
            break
    else:
        column = parser.name()
    parser.expect_symbol(")")
    custom_class = parser.string() if parser.take_word("using") else None
    if is_custom and custom_class is None:
        raise parser.fault()
    options: dict[str, str] = {}
    if parser.take_word("with"):
        parser.expect_word("options")
        parser.expect_symbol("=")
        options = parser.string_map()
    return CreateIndex(name, table, target, column, custom_class, options, guard)


def _alter(parser: Parser) -> Statement:
    if parser.take_word("keyspace") or parser.take_word("schema"):
        return _keyspace(parser, is_alter=True)
    if parser.take_word("table") or parser.take_word("columnfamily"):
        return _alter_table(parser)
    if parser.take_word("type"):
        return _alter_type(parser)
    return _unsupported(parser, "ALTER")


def _alter_table(parser: Parser) -> AlterTable:
    guard = _if_exists(parser)
    table = parser.table_name()
    if parser.take_word("add"):
        if parser.take_symbol("("):
            return AlterTable(table, added=parser.separated(lambda: _added(parser), ")"), if_exists=guard)
        return AlterTable(table, added=parser.separated(lambda: _added(parser)), if_exists=guard)
    if parser.take_word("drop"):
        if parser.take_symbol("("):
            return AlterTable(table, dropped=parser.separated(parser.name, ")"), if_exists=guard)
        return AlterTable(table, dropped=parser.separated(parser.name), if_exists=guard)
    if parser.take_word("rename"):
        return AlterTable(table, renamed=_renames(parser), if_exists=guard)
    parser.expect_word("with")
    return AlterTable(table, options=parser.options(), if_exists=guard)


def _added(parser: Parser) -> ColumnDefinition:
    return ColumnDefinition(parser.name(), parser.type_name(), parser.take_word("static"))


def _renames(parser: Parser) -> tuple[tuple[str, str], ...]:
    pairs = []
    while True:
        old = parser.name()
        parser.expect_word("to")
        pairs.append((old, parser.name()))
        if not parser.take_word("and"):
            return tuple(pairs)


def _alter_type(parser: Parser) -> AlterType:
    name = parser.table_name()
    if parser.take_word("add"):
        return AlterType(name, added=(_field(parser),))
    parser.expect_word("rename")
    return AlterType(name, renamed=_renames(parser))


def _drop(parser: Parser) -> Statement:
    for target, words in _DROPPED.items():
        if any(parser.take_word(word) for word in words):
            guard = _if_exists(parser)
            name = TableName(None, parser.name()) if target == "KEYSPACE" else parser.table_name()
            return Drop(target, name, guard)
    return _unsupported(parser, "DROP")


_DROPPED = {
    "KEYSPACE": ("keyspace", "schema"),
    "TABLE": ("table", "columnfamily"),
    "TYPE": ("type",),
    "INDEX": ("index",),
}
_SUBJECTS = ("keyspaces", "tables", "types", "functions", "aggregates", "cluster", "schema", "full")


def _describe(parser: Parser) -> Describe:
    for subject in _SUBJECTS:
        if parser.take_word(subject):
            if subject == "full":
                parser.expect_word("schema")
                return Describe("full schema", None)
            return Describe(subject, None)
    for subject in ("keyspace", "table", "columnfamily", "type", "index"):
        if parser.take_word(subject):
            at_end = parser.peek() is None or parser.at_symbol(";")
            name = None if subject == "keyspace" and at_end else parser.table_name()
            return Describe("table" if subject == "columnfamily" else subject, name)
    for subject in ("materialized", "function", "aggregate"):
        if parser.at_word(subject):
            raise invalid(f"DESCRIBE {subject.upper()} is not supported by the sandbox")
    return Describe("any", parser.table_name())
