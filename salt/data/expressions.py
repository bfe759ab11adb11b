"""Expressions: new variables as formulas of fields, computed without ever running what a config says.

`simpleeval` walks the syntax tree of a formula; what it may meet there is listed here, and all else is refused before
anything is computed: no strings, no attributes but `jets.pt`, no calls but of the functions below.

Shapes: those of the fields, element by element.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpleeval import SimpleEval

from salt.data.derive import Derivation, Rows
from salt.data.names import unknown

MAX_LENGTH = 1000
"""Characters of an expression."""

FUNCTIONS: dict[str, Callable[..., NDArray]] = {
    name: getattr(np, name)
    for name in (
        *("abs", "sign", "sqrt", "cbrt", "exp", "expm1", "log", "log2", "log10", "log1p", "floor", "ceil", "rint"),
        *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "hypot", "sinh", "cosh", "tanh", "arcsinh"),
        *("minimum", "maximum", "where", "clip", "isfinite", "isnan"),
    )
}
CONSTANTS = {"pi": np.pi}


def _number(value: Any) -> Any:
    """Truth values as integers, so that they add up."""
    return value.astype(np.int64) if isinstance(value, np.ndarray) and value.dtype.kind == "b" else value


def _arithmetic(function: Callable[..., NDArray]) -> Callable[..., NDArray]:
    return lambda *values: function(*(_number(value) for value in values))


OPERATORS: dict[type[ast.AST], Callable[..., NDArray]] = {
    ast.Add: _arithmetic(np.add),
    ast.Sub: _arithmetic(np.subtract),
    ast.Mult: _arithmetic(np.multiply),
    ast.Div: _arithmetic(np.true_divide),
    ast.FloorDiv: _arithmetic(np.floor_divide),
    ast.Mod: _arithmetic(np.mod),
    ast.Pow: _arithmetic(np.float_power),
    ast.UAdd: _arithmetic(np.positive),
    ast.USub: _arithmetic(np.negative),
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.BitAnd: np.bitwise_and,
    ast.BitOr: np.bitwise_or,
    ast.BitXor: np.bitwise_xor,
    ast.Invert: np.invert,
}
_NODES = {ast.Expr, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Attribute, ast.Constant}
_GRAMMAR = _NODES | OPERATORS.keys() | {ast.Load}
_INSTEAD = {
    ast.BoolOp: "write & for and, | for or, with both sides in parentheses",
    ast.Not: "write ~ for not, with what follows in parentheses",
    ast.IfExp: "write where(condition, value, other)",
}


class Expression(Derivation):
    """A column as a formula of others: "log(pt)", "pt / jets.pt".

    Integers and truth values are computed with as such, other numbers in float64.

    Parameters
    ----------
    name : str
        Name of the column.
    formula : str
        Fields of the stream, fields of the global object (`jets.pt`), numbers, + - * / // % **, comparisons, & | ~,
        and the functions of `FUNCTIONS`.
    key : str
        YAML key that it stands at, for messages.
    """

    def __init__(self, name: str, formula: str, key: str = "data.new_variables") -> None:
        super().__init__(name, key)
        self.formula = str(formula)
        self._tree = _parse(self.formula, self.key)
        self._fields = list(dict.fromkeys(_fields(self._tree)))
        if not self._fields:
            raise ValueError(f"{self._what}: it names no field")
        self._evaluate({field: np.ones(1, np.int64) for field in self._fields})  # what cannot be, is found now

    @property
    def _what(self) -> str:
        """Start of a message."""
        return f"cannot compute {self.formula!r} ({self.key})"

    def reads(self) -> list[str]:
        """Fields that the formula names."""
        return self._fields

    def compute(self, rows: Rows) -> np.ndarray:
        """The column; where a formula has no value (log of a negative number) it is not finite."""
        return self._evaluate({field: _widened(rows[field]) for field in self._fields})

    def _evaluate(self, fields: dict[str, NDArray]) -> NDArray:
        evaluator = SimpleEval(OPERATORS, FUNCTIONS, fields | CONSTANTS)
        evaluator.nodes = {node: evaluator.nodes[node] for node in _NODES}
        evaluator.nodes[ast.Attribute] = lambda node: fields[ast.unparse(node)]  # no attribute is ever looked up
        try:
            with np.errstate(all="ignore"):
                value = evaluator.eval(self.formula, self._tree)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"{self._what}: {error}") from error
        return np.broadcast_to(value, fields[self._fields[0]].shape)

    def describe(self) -> dict[str, Any]:
        """The formula."""
        return {"kind": "expression", "name": self.name, "formula": self.formula}


def _widened(values: NDArray) -> NDArray:
    """Values of a field, wide enough to compute with."""
    wide = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
    return values.astype(wide[values.dtype.kind])


def _parse(formula: str, key: str) -> ast.Expr:
    """The syntax tree of a formula, in which there is nothing but what is listed."""
    what = f"cannot read {formula!r} ({key})"
    if len(formula) > MAX_LENGTH:
        raise ValueError(f"{key}: an expression has at most {MAX_LENGTH} characters, this one {len(formula)}")
    try:
        tree = ast.Expr(ast.parse(formula.strip(), mode="eval").body)
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{what}: it is no expression; write for example log(pt), or pt / jets.pt") from error
    for node in nodes:
        _check(node, what, key)
    return tree


def _check(node: ast.AST, what: str, key: str) -> None:
    """Raise where a part of a formula is none that may be there."""
    if type(node) not in _GRAMMAR:
        instead = _INSTEAD.get(type(node), f"{type(node).__name__} has no place in a formula")
        raise ValueError(f"{what}: {instead}")
    if isinstance(node, ast.Constant) and type(node.value) not in {bool, int, float}:
        raise ValueError(f"{what}: {node.value!r} is no number")
    if isinstance(node, ast.Attribute) and not isinstance(node.value, ast.Name):
        raise ValueError(f"{what}: a dot stands between the global object and its field only: jets.pt")
    if isinstance(node, ast.Compare) and len(node.ops) > 1:
        raise ValueError(f"{what}: write (a < b) & (b < c), each comparison in parentheses")
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise ValueError(unknown("function", ast.unparse(node.func), FUNCTIONS, f"a formula ({key})"))
        if node.keywords:
            raise ValueError(f"{what}: functions take no named arguments")


def _fields(node: ast.AST) -> Iterator[str]:
    """Fields that a formula names, from left to right."""
    if isinstance(node, ast.Attribute):
        yield ast.unparse(node)
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _fields(argument)
    elif isinstance(node, ast.Name):
        if node.id not in CONSTANTS:
            yield node.id
    else:
        for child in ast.iter_child_nodes(node):
            yield from _fields(child)
