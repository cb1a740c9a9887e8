#!/usr/bin/env python3
"""Writes src/auth/metadata_words.txt: every word that LiteLLM may look up in the metadata of a key, a team, an organization,
a project or a user. A key whose metadata has none of them is served natively; any other word is Python's.

A word too many costs a decline, one too few a feature that is silently left out, so the net is wide. It does not ask whose
metadata it is. Caught is, in all of litellm's modules:
  - what anything is asked for (`[...]`, `.get`, `in`, a comparison) whose source has "meta" in it, or that was made of such;
  - texts that are given to a function together with it; all texts of a proxy's function that is given a whole metadata;
  - all texts, and those of the constants it names, of a function that asks it for something only known when it runs;
  - fields of classes, and texts of constants, that are named after metadata.

    metadata_words.py [--check]      run by a Python that has litellm installed; --check: fails if the file would change
"""
import argparse
import ast
import re
import sys
from collections import defaultdict
from functools import cached_property
from importlib import util
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "src" / "auth" / "metadata_words.txt"
PACKAGES = ("litellm", "litellm_enterprise")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
# `key.metadata`, `team_metadata or {}`
WHOLE = re.compile(r"metadata\)?( or (\{\}|None|EMPTY_MAPPING|MappingProxyType\(\{\}\)))?\)?$")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ASSIGNMENTS = (ast.Assign, ast.AnnAssign)
LOOK_UPS = ("get", "pop", "setdefault")
# a name that more functions have is too common to say which one is called
NAMESAKES = 3


def texts(node: ast.AST) -> set[str]:
    return {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}


def targets(node) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


class Constants(dict):
    """Texts by the name of the module or class constant that has them."""

    def __init__(self, trees):
        super().__init__()
        for tree in trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ASSIGNMENTS) and node.value is not None:
                    for target in targets(node):
                        if isinstance(target, ast.Name):
                            self.setdefault(target.id, set()).update(texts(node.value))

    def named(self, node: ast.AST) -> set[str]:
        """Of those that are named below a node."""
        names = {c.id for c in ast.walk(node) if isinstance(c, ast.Name)}
        names |= {c.attr for c in ast.walk(node) if isinstance(c, ast.Attribute)}
        return set().union(*(self.get(name, set()) for name in names if name.strip("_").isupper()))


def mark(node: ast.AST) -> bool:
    """Notes at every node whether its source has "meta" in it."""
    own = (value for _, value in ast.iter_fields(node) if isinstance(value, str))
    node.meta = any([mark(child) for child in ast.iter_child_nodes(node)]) or any("meta" in v.lower() for v in own)
    return node.meta


class Function:
    """What one function asks of metadata."""

    def __init__(self, node: ast.AST, constants: Constants):
        self.node, self.constants = node, constants
        self.made_of_it: set[str] = set()
        for _ in range(3):
            for part in ast.walk(node):
                if isinstance(part, ASSIGNMENTS) and part.value is not None and self.is_metadata(part.value):
                    if not self.is_looked_up(part.value):
                        self.made_of_it.update(t.id for t in targets(part) if isinstance(t, ast.Name))

    def is_metadata(self, node: ast.expr) -> bool:
        if node.meta or not self.made_of_it:
            return node.meta
        return any(isinstance(c, ast.Name) and c.id in self.made_of_it for c in ast.walk(node))

    @staticmethod
    def is_looked_up(node: ast.expr) -> bool:
        """One entry, which is no metadata unless it is named so."""
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOOK_UPS
        return (call or isinstance(node, ast.Subscript)) and "metadata" not in ast.unparse(node).split("get(")[-1]

    def words(self):
        for node in ast.walk(self.node):
            if isinstance(node, ast.Subscript) and self.is_metadata(node.value):
                yield from self.asked(node.slice)
            elif isinstance(node, ast.Compare) and any(isinstance(op, (ast.In, ast.NotIn)) for op in node.ops):
                if any(self.is_metadata(side) for side in node.comparators):
                    yield from self.asked(node.left)
            elif isinstance(node, ast.Call):
                method = node.func if isinstance(node.func, ast.Attribute) else None
                if method and method.attr in LOOK_UPS and node.args and self.is_metadata(method.value):
                    yield from self.asked(node.args[0])
                elif any(self.is_metadata(argument) for argument in arguments(node)):
                    for argument in arguments(node):
                        if isinstance(argument, (ast.Constant, ast.Tuple, ast.List, ast.Set)):
                            yield from texts(argument)
                        elif isinstance(argument, ast.Name):
                            yield from self.constants.named(argument)

    def asked(self, name: ast.expr):
        yield from texts(name) | self.constants.named(name)
        if not isinstance(name, ast.Constant):
            yield from self.everything

    @cached_property
    def everything(self):
        return texts(self.node) | self.constants.named(self.node)


def given_a_whole_metadata(trees: dict[Path, ast.Module]):
    """Functions of the proxy that are."""
    proxy = [tree for path, tree in trees.items() if "proxy" in path.parts or PACKAGES[1] in path.parts]
    functions = defaultdict(list)
    for node in (node for tree in proxy for node in ast.walk(tree)):
        if isinstance(node, FUNCTIONS):
            functions[node.name].append(node)
    called = set()
    for node in (node for tree in proxy for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and any(a.meta and WHOLE.search(ast.unparse(a)) for a in arguments(node)):
            called.add(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
    for name in called:
        if len(functions[name]) <= NAMESAKES:
            yield from functions[name]


def words(trees: dict[Path, ast.Module]):
    constants = Constants(trees)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                yield from Function(node, constants).words()
            elif isinstance(node, ast.ClassDef) and "metadata" in node.name.lower():
                fields = (field.target for field in node.body if isinstance(field, ast.AnnAssign))
                yield from (field.id for field in fields if isinstance(field, ast.Name))
    for function in given_a_whole_metadata(trees):
        yield from Function(function, constants).everything
    for name, of_constant in constants.items():
        if "metadata" in name.lower() and name != "metadata":
            yield from of_constant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    roots = [Path(next(iter(spec.submodule_search_locations))) for spec in map(util.find_spec, PACKAGES) if spec]
    paths = sorted(path for root in roots for path in root.rglob("*.py"))
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    for tree in trees.values():
        mark(tree)
    # compared without case: what is looked up in another case is Python's too
    found = sorted({word.lower() for word in words(trees) if WORD.fullmatch(word)})
    text = "".join(f"{word}\n" for word in found)
    if check:
        same = OUT.read_text() == text
        print(f"{len(found)} words of metadata, {'as' if same else 'NOT as'} in {OUT.name}")
        return 0 if same else 1
    OUT.write_text(text)
    print(f"{len(found)} words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
