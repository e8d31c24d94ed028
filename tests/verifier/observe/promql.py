"""What an expression of Prometheus asks for, read by a parser of its language."""

from collections.abc import Iterator
from typing import Any

import promql_parser
from promql_parser import AggregateExpr, BinaryExpr, NumberLiteral, VectorSelector


def parse(expression: str) -> Any:
    """Return the expression as a tree; Grafana's own variables stand for what it puts there."""
    for variable, value in (("$__rate_interval", "1m"), ("$__range", "1h")):
        expression = expression.replace(variable, value)
    return promql_parser.parse(expression)


def metrics_in(expression: str) -> dict[str, set[str]]:
    """Return the metrics that an expression reads, each with the labels that it needs of it."""
    found: dict[str, set[str]] = {}
    tree = parse(expression)
    for node, labels in _selectors(tree, frozenset()):
        assert node.name is not None, expression
        matched = {matcher.name for matcher in node.matchers.matchers}
        found.setdefault(node.name, set()).update(matched | labels)
    return found


def threshold(expression: str) -> float:
    """Return the number that an alert compares with: that of its last comparison."""
    tree: Any = parse(expression)
    while isinstance(tree, BinaryExpr) and not isinstance(tree.rhs, NumberLiteral):
        tree = tree.rhs
    assert isinstance(tree, BinaryExpr), expression
    number: Any = tree.rhs
    return float(number.val)


def _selectors(node: Any, labels: frozenset[str]) -> Iterator[tuple[VectorSelector, frozenset[str]]]:
    """Return each selector below a node, with the labels by which it is grouped on the way."""
    if isinstance(node, VectorSelector):
        yield node, labels
    elif isinstance(node, AggregateExpr):
        grouped = frozenset(node.modifier.labels) if node.modifier is not None else frozenset()
        yield from _selectors(node.expr, grouped or labels)
    elif isinstance(node, BinaryExpr):
        for side in (node.lhs, node.rhs):
            yield from _selectors(side, labels)
    else:
        for name in ("expr", "vector_selector"):
            if (below := getattr(node, name, None)) is not None:
                yield from _selectors(below, labels)
        for argument in getattr(node, "args", None) or ():
            yield from _selectors(argument, labels)
