"""The expressions of `--where`: a small language of comparisons, read by a parser of its own.

Python's grammar gives the syntax tree; nothing of it is ever run. Only the nodes below have a
meaning: comparisons (chained too), and/or/not, in, is unknown, + - * /, abs, names, numbers, text.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bcseg.errors import UsageError
from bcseg.names import nearest
from bcseg.select.columns import (
    COLUMNS,
    FLAG_NAMES,
    NEVER_UNKNOWN,
    WORDS,
    Column,
    Facts,
    column_of,
    is_number,
)

Value = float | str | None  # None: unknown
Condition = Callable[[Facts], bool]

UNKNOWN = "unknown"
_LONGEST, _DEEPEST = 2000, 40  # characters, levels
_ORDER: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}
_SUMS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}
# what people write who think of another language
_FOREIGN = (
    ("&&", "and"),
    ("||", "or"),
    ("<>", "!="),
    ("!", "not"),
    ("&", "and"),
    ("|", "or"),
    ("=", "=="),
)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was understood.

    `compared`, `flags`: what it asks about; `known`: columns of which it asks whether they are
    unknown. `texts`: text that a column is compared with.
    """

    text: str
    test: Condition
    compared: frozenset[Column]
    known: frozenset[Column]
    flags: frozenset[str]
    texts: tuple[tuple[Column, str], ...]

    @property
    def of_scores(self) -> tuple[str, ...]:
        """The flags and columns of scores.csv that it asks about."""
        columns = {name for table, name in self.compared | self.known if table == "score"}
        return (*sorted(self.flags), *sorted(columns))


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of a comparison; `column`: the column that it is, `text`: the text that it is."""

    node: ast.expr
    value: Callable[[Facts], Value]
    column: Column | None = None
    text: str | None = None

    def number(self, facts: Facts) -> float | None:
        """Return the value as a number."""
        if self.column:
            return facts.number(self.column)
        value = self.value(facts)
        return value if isinstance(value, float) else None


def parse(text: str, option: str = "--where") -> Expression:
    """Return the meaning of an expression; raises UsageError with the place of what has none."""
    return _Parser(text, option).expression()


class _Parser:
    def __init__(self, text: str, option: str) -> None:
        self.text = re.sub(r"\s", " ", text).strip()
        self.option = option
        self.compared: set[Column] = set()
        self.known: set[Column] = set()
        self.flags: set[str] = set()
        self.texts: list[tuple[Column, str]] = []

    def expression(self) -> Expression:
        if not self.text:
            raise UsageError(f"{self.option} is empty", hint='an expression such as "not oval"')
        if len(self.text) > _LONGEST:
            raise UsageError(
                f"{self.option} is longer than {_LONGEST:,} characters",
                hint="a list of ids belongs in a --manifest",
            )
        tree = self._tree()
        if _depth(tree) > _DEEPEST:
            raise UsageError(
                f"{self.option} is nested more than {_DEEPEST} levels deep", hint="make it simpler"
            )
        test = self._condition(tree)
        return Expression(
            self.text,
            test,
            frozenset(self.compared),
            frozenset(self.known),
            frozenset(self.flags),
            tuple(self.texts),
        )

    def _tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd escapes and the like
                return ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise self._syntax(error) from None
        except (ValueError, RecursionError, MemoryError):
            raise UsageError(f"{self.option} cannot be read as an expression") from None

    def _syntax(self, error: SyntaxError) -> UsageError:
        bare = re.sub(r"'[^']*'|\"[^\"]*\"", lambda match: " " * len(match[0]), self.text)
        for foreign, ours in _FOREIGN:
            pattern = r"(?<![<>=!])=(?!=)" if foreign == "=" else re.escape(foreign)
            pattern += r"(?!=)" if foreign == "!" else ""
            if match := re.search(pattern, bare):
                return self._no(f"{foreign!r} has no meaning here: write {ours!r}", match.span())
        if unpaired := re.search(r"['\"]", bare):
            return self._no("a quote is not closed", (unpaired.start(), unpaired.end()))
        start = max(0, (error.offset or 1) - 1)
        return self._no(f"not understood ({error.msg})", (start, start + 1))

    def _no(self, message: str, place: ast.expr | tuple[int, int], hint: str = "") -> UsageError:
        if isinstance(place, ast.expr):  # columns of the tree count bytes
            line = self.text.encode()
            ends = (place.col_offset, place.end_col_offset or len(line))
            start, stop = (len(line[:end].decode(errors="replace")) for end in ends)
        else:
            start, stop = place
        window = max(0, start - 50)
        shown = self.text[window : window + 90]
        mark = " " * (start - window) + "^" * max(1, min(stop, window + 90) - start)
        return UsageError(
            f"{self.option}: {message} (at character {start + 1})\n    {shown}\n    {mark}",
            hint=hint,
        )

    # ------------------------------------------------------------------------ conditions

    def _condition(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.BoolOp):
            parts = [self._condition(value) for value in node.values]
            if isinstance(node.op, ast.And):
                return lambda facts: all(part(facts) for part in parts)
            return lambda facts: any(part(facts) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self._condition(node.operand)
            return lambda facts: not inner(facts)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Name):
            return self._flag(node)
        term = self._term(node)
        name = ast.unparse(term.node)
        raise self._no(f"{name} is a value and no condition: compare it, as in {name} > 0", node)

    def _flag(self, node: ast.Name) -> Condition:
        name = node.id
        if name not in FLAG_NAMES:
            self._term(node)  # an unknown name is told as such
            raise self._no(
                f"{name} is a column and no flag: compare it, as in {name} > 0 or {name} == 'x'",
                node,
            )
        self.flags.add(name)
        return lambda facts: name in facts.flags

    def _comparison(self, node: ast.Compare) -> Condition:
        operands = [node.left, *node.comparators]
        tests = [
            self._pair(left, operator, right)
            for left, operator, right in zip(operands, node.ops, operands[1:], strict=False)
        ]
        return tests[0] if len(tests) == 1 else lambda facts: all(test(facts) for test in tests)

    def _pair(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Condition:
        if isinstance(operator, (ast.Is, ast.IsNot)):
            return self._unknown(left, right, wanted=isinstance(operator, ast.Is))
        for side in (left, right):
            if _names_unknown(side):
                raise self._no("ask for an unknown value with: is unknown, is not unknown", side)
        if isinstance(operator, (ast.In, ast.NotIn)):
            return self._membership(left, right, wanted=isinstance(operator, ast.In))
        one, other = self._term(left), self._term(right)
        if isinstance(operator, (ast.Eq, ast.NotEq)):
            return self._equality(one, other, wanted=isinstance(operator, ast.Eq))
        for term in (one, other):
            if term.text is not None:
                quoted = "take the quotes away" if is_number(term.text) else "use == or in"
                raise self._no(f"{term.text!r} is text and has no order: {quoted}", term.node)
        compare = _ORDER[type(operator)]

        def test(facts: Facts) -> bool:
            a, b = one.number(facts), other.number(facts)
            return a is not None and b is not None and compare(a, b)

        return test

    def _unknown(self, left: ast.expr, right: ast.expr, *, wanted: bool) -> Condition:
        if not _names_unknown(right):
            raise self._no("'is' asks for an unknown value only: is unknown, is not unknown", right)
        compared = set(self.compared)
        column = self._term(left).column
        if column is None:
            raise self._no("only a column can be unknown", left)
        if column[1] in NEVER_UNKNOWN:
            message = f"{column[1]} is never unknown: an empty cell says that there is none"
            raise self._no(message, left)
        self.compared = compared
        self.known.add(column)
        return lambda facts: (facts.cell(column) is None) is wanted

    def _equality(self, one: _Term, other: _Term, *, wanted: bool) -> Condition:
        self._check_text(one, other)
        self._check_text(other, one)
        text = one.text is not None or other.text is not None
        if text and not (one.column or other.column or (one.text and other.text)):
            raise self._no("a number is compared with text here", other.node)
        columns = one.column and other.column

        def test(facts: Facts) -> bool:
            a, b = one.value(facts), other.value(facts)
            if a is None or b is None:
                return False
            if columns and not (is_number(str(a)) and is_number(str(b))):
                return (a == b) is wanted
            if not text:
                a, b = one.number(facts), other.number(facts)
            return a is not None and b is not None and (a == b) is wanted

        return test

    def _check_text(self, term: _Term, other: _Term) -> None:
        if term.column is None or other.text is None:
            return
        if not other.text and term.column[1] not in NEVER_UNKNOWN:
            raise self._no("an empty cell is unknown: write is unknown, is not unknown", other.node)
        self._compared(term.column, other.text, other.node)

    def _compared(self, column: Column, text: str, node: ast.expr) -> None:
        if column[1] == "flags":
            for word in text.split():
                if word not in FLAG_NAMES:
                    raise self._no(f"no flag is called {word!r}{_near(word, FLAG_NAMES)}", node)
        elif text and column[1] not in NEVER_UNKNOWN:
            self.texts.append((column, text))

    # ------------------------------------------------------------------------ in

    def _membership(self, left: ast.expr, right: ast.expr, *, wanted: bool) -> Condition:
        term = self._term(left)
        if isinstance(right, (ast.Tuple, ast.List, ast.Set)):
            if not right.elts:
                raise self._no("the list is empty", right)
            tests = [self._equality(term, self._constant(one), wanted=True) for one in right.elts]
            return lambda facts: (
                term.value(facts) is not None and any(test(facts) for test in tests) is wanted
            )
        inside = self._term(right)
        if inside.column is None:
            raise self._no(
                "after 'in' stands a list, as in ('mass', 'cluster'), or a column", right
            )
        column = inside.column
        if term.text is not None:
            if column[1] in WORDS:
                self._compared(column, term.text, left)
        elif term.column is None:
            raise self._no("what is looked for in a column is text: put it in quotes", left)
        split = column[1] in WORDS

        def test(facts: Facts) -> bool:
            part, cell = term.value(facts), facts.cell(column)
            if part is None or cell is None:
                return False
            return (part in (cell.split() if split else cell)) is wanted

        return test

    def _constant(self, node: ast.expr) -> _Term:
        term = self._term(node)
        if term.column:
            raise self._no("the list holds numbers and quoted text only", node)
        return term

    # ------------------------------------------------------------------------ terms

    def _term(self, node: ast.expr) -> _Term:
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._column(node)
        if isinstance(node, ast.Constant):
            return self._literal(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.UAdd, ast.USub)):
            sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
            return self._computed(node, [node.operand], lambda a: sign * a)
        if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
            return self._computed(node, [node.left, node.right], _SUMS[type(node.op)])
        if isinstance(node, ast.Call):
            known = isinstance(node.func, ast.Name) and node.func.id == "abs"
            if not known or len(node.args) != 1 or node.keywords:
                raise self._no("the only function is abs(x)", node)
            return self._computed(node, node.args, abs)
        if isinstance(node, (ast.BoolOp, ast.Compare)) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            raise self._no("a condition stands where a value should", node)
        raise self._no("this has no meaning here", node, "docs/select.md has the whole language")

    def _computed(
        self, node: ast.expr, operands: list[ast.expr], compute: Callable[..., float]
    ) -> _Term:
        terms = [self._term(one) for one in operands]
        for term in terms:
            if term.text is not None:
                raise self._no(f"{term.text!r} is text: it cannot be computed with", term.node)

        def value(facts: Facts) -> Value:
            numbers = [term.number(facts) for term in terms]
            if None in numbers:
                return None
            try:
                result = compute(*numbers)
            except (ZeroDivisionError, OverflowError):
                return None
            return result if math.isfinite(result) else None

        return _Term(node, value)

    def _literal(self, node: ast.Constant) -> _Term:
        value = node.value
        if isinstance(value, str):
            return _Term(node, lambda _: value, text=value)
        if isinstance(value, bool):
            raise self._no("a flag is asked for by its name: oval, not oval", node)
        if not isinstance(value, (int, float)):
            raise self._no("this has no meaning here", node)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._no("the number is too large", node)
        return _Term(node, lambda _: number)

    def _column(self, node: ast.Name | ast.Attribute) -> _Term:
        name = ast.unparse(node)
        column = column_of(name)
        if column is None:
            if name in FLAG_NAMES:
                raise self._no(f"{name} is a flag: it stands alone, as in {name}, not {name}", node)
            raise self._unknown_name(name, node)
        self.compared.add(column)
        return _Term(node, lambda facts: facts.cell(column), column=column)

    def _unknown_name(self, name: str, node: ast.expr) -> UsageError:
        table, _, column = name.rpartition(".")
        tables = {word: known for known in COLUMNS for word in (known, f"{known}s")}
        if table in tables:
            columns = COLUMNS[tables[table]]
            return self._no(
                f"no column of {table} is called {column!r}{_near(column, columns)}", node
            )
        known = (*FLAG_NAMES, *(one for columns in COLUMNS.values() for one in columns))
        near = _near(name, dict.fromkeys(known))
        hint = "" if near else f"text stands in quotes: '{name}'; docs/select.md lists all columns"
        return self._no(f"{name!r} is no column and no flag{near}", node, hint)


def _near(word: str, words: Iterator[str] | Mapping[str, None] | tuple[str, ...]) -> str:
    near = nearest(word, words, count=2)
    return f": do you mean {' or '.join(near)}?" if near else ""


def _names_unknown(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id.lower() == UNKNOWN
    return isinstance(node, ast.Constant) and node.value is None


def _depth(tree: ast.AST) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return deepest
