"""Follow values through the methods of a module: which of its parts each passes, in turn.

What a layer does with its linear layers is written in its source, dropout included, which no run in
evaluation mode shows. Followed are calls of parts with a value, methods, plain functions,
`functional.dropout` with a rate that is an attribute, and names. Any other operation ends the way,
and so does a value that only one of two branches sets.
"""

from __future__ import annotations

import ast
from functools import partial
from typing import Any

from torch import nn

from moesuite.models.mlps.linear import is_linear
from moesuite.models.mlps.split.source import Method, attribute, method, method_names
from moesuite.models.mlps.split.values import Trace, Value

CHUNKED = "apply_chunking_to_forward"  # of transformers: a method, a size, an axis, and the value
DEEPEST = 4  # calls within calls


def follow(module: nn.Module) -> Trace:
    """Follow values through every method of `module`, beginning with forward."""
    trace = Trace()
    if isinstance(module, nn.Sequential):
        trace.output = _sequence(module, "", Value(source="input"), trace)
        return trace
    if method(module, "forward") is None or "forward" in vars(module):
        return trace  # of this object alone, it is not known what it does
    seen: set[str] = set()
    trace.output = _Frame(module, "", trace, seen).call("forward", [])
    for name in method_names(module):
        if name not in seen:
            _Frame(module, "", trace, seen).call(name, [])
    return trace


def _sequence(modules: nn.Sequential, prefix: str, value: Value, trace: Trace) -> Value:
    for name, module in modules.named_children():
        value = trace.through(value, f"{prefix}{name}", module)
    return value


class _Frame:
    """One call of a method of a module at `prefix`: the values of its names."""

    method: Method

    def __init__(
        self, module: nn.Module, prefix: str, trace: Trace, seen: set[str], depth: int = 0
    ) -> None:
        self.module = module
        self.prefix = prefix
        self.trace = trace
        self.seen = seen  # names of the methods that have been followed, with their prefix
        self.depth = depth
        self.names: dict[str, Value] = {}
        self.returned: list[Value] = []

    def call(self, name: str, values: list[Value]) -> Value:
        """Follow a method with these positional arguments, and return its value."""
        read = method(self.module, name)
        self.seen.add(f"{self.prefix}{name}")
        if read is None or self.depth > DEEPEST:
            return self.trace.lose(values)
        self.method = read
        self.names = {key: Value(source=key) for key in read.inputs}
        self.names |= {key: value.copy() for key, value in zip(read.inputs, values, strict=False)}
        self._suite(read.tree.body)
        return self.returned[0].copy() if len(self.returned) == 1 else Value()

    def _suite(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self.names[name] = self._value(value)
                case ast.Return(value=ast.expr() as value):
                    self.returned.append(self._value(value))
                case ast.With():
                    self._suite(statement.body)
                case ast.FunctionDef() | ast.ClassDef():
                    pass
                case _:
                    self._other(statement)

    def _other(self, statement: ast.stmt) -> None:
        """Follow the branches of a statement; afterwards what it sets is not known."""
        before = dict(self.names)
        for node in ast.iter_child_nodes(statement):
            if isinstance(node, ast.expr):
                self.trace.lose([self._value(node)])
        for branch in _branches(statement):
            self.names = dict(before)
            self._suite(branch)
        written = {
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        self.names = {name: value for name, value in before.items() if name not in written}

    def _value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            value = self.names.get(node.id, Value())
            value.loads += 1
            if value.loads > 1:
                self.trace.forks.add(value.linear)
            return value
        if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
            return self._call(node)
        return self._lost(node)

    def _lost(self, node: ast.AST) -> Value:
        """Follow what an operation is made of, but not its result."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.trace.lose([self._value(child)])
            else:
                self._lost(child)
        return Value()

    def _call(self, node: ast.Call) -> Value:
        name = attribute(node.func, self.method)
        if name:
            return self._part(name, getattr(self.module, name, None), node)
        called = ast.unparse(node.func)
        if called.endswith("functional.dropout") or called == "F.dropout":
            return self._dropout(node)
        if called == CHUNKED and (name := attribute(node.args[0], self.method)):
            return self._method(name, [self._value(value) for value in node.args[3:]])
        function = _resolved(node.func, self.method)
        if function is None or len(node.args) > 1:
            return self._lost(node)
        try:
            options = {str(key.arg): ast.literal_eval(key.value) for key in node.keywords}
        except ValueError:
            return self._lost(node)
        value = self._value(node.args[0])
        return self.trace.through(value, "", partial(function, **options) if options else function)

    def _part(self, name: str, part: Any, node: ast.Call) -> Value:
        """Follow a call of a method, module or other attribute."""
        values = [self._value(value) for value in node.args]
        options = [self._value(option.value) for option in node.keywords]
        self.trace.lose([*values[1:], *options])
        path = f"{self.prefix}{name}"
        if not isinstance(part, nn.Module) and method(self.module, name):
            return self._method(name, values)
        if isinstance(part, nn.Sequential):
            return _sequence(part, f"{path}.", values[0], self.trace)
        if isinstance(part, nn.Module) and any(is_linear(child) for child in part.children()):
            inner = _Frame(part, f"{path}.", self.trace, self.seen, self.depth + 1)
            return inner.call("forward", values)
        if len(values) + len(options) > 1 or not callable(part):
            return self.trace.lose(values)
        return self.trace.through(values[0], path, part)

    def _method(self, name: str, values: list[Value]) -> Value:
        inner = _Frame(self.module, self.prefix, self.trace, self.seen, self.depth + 1)
        return inner.call(name, values)

    def _dropout(self, node: ast.Call) -> Value:
        """Follow `functional.dropout(value, p=self.<rate>, training=self.training)`."""
        words = {option.arg: attribute(option.value, self.method) for option in node.keywords}
        rate = words.get("p") or attribute(node.args[-1], self.method)
        value = self._value(node.args[0])
        p = getattr(self.module, rate, None) if rate else None
        if words.get("training") != "training" or not isinstance(p, float | int):
            return self.trace.lose([value])
        return self.trace.through(value, f"{self.prefix}{rate}", nn.Dropout(p))


def _branches(statement: ast.stmt) -> list[list[ast.stmt]]:
    handlers = [handler.body for handler in getattr(statement, "handlers", [])]
    return [*(getattr(statement, name, []) for name in ("body", "orelse", "finalbody")), *handlers]


def _resolved(node: ast.expr, within: Method) -> Any:
    """Return the function that a name or dotted name means, or None."""
    if isinstance(node, ast.Name):
        function = within.names.get(node.id)
    elif isinstance(node, ast.Attribute):
        function = getattr(_resolved(node.value, within), node.attr, None)
    else:
        function = None
    return function
