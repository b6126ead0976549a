#!/usr/bin/env python3
"""Fails when files of one crate depend on each other in a circle, or when a circle that this list excuses is gone.

A file depends on the file that defines what it names: by `use`, or by a path in its code. A name that is only re-exported
on the way (`pub use`) counts for the file that defines it, so a `mod.rs` that declares and re-exports its children is free
to. What is compiled for tests alone does not count.

It reads names, not types: a method that is called on a value does not show where it is defined.
`--self-test` runs it on small trees.
"""

import itertools
import pathlib
import re
import sys
import tempfile
from dataclasses import dataclass, field

REPO = pathlib.Path(__file__).resolve().parent.parent

# Circles that still stand: crate, files below its `src`, and what ties them. One that no longer occurs has to go from here.
STANDING: list[tuple[str, str, str]] = []

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
    | (?P<comment>/\*)
    | (?P<raw>b?r(?P<hashes>\#*)"(?:.|\n)*?"(?P=hashes))
    | (?P<text>[bc]?"(?:\\(?:.|\n)|[^"\\])*"|b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    | (?P<word>(?:r\#)?[A-Za-z_]\w*)
    | (?P<number>[0-9][0-9A-Za-z_]*)
    | (?P<mark>::|=>|->|.)""",
    re.X | re.S,
)
OPENING, CLOSING = {"{": "}", "(": ")", "[": "]"}, {"}", ")", "]"}
DEFINING = {"fn", "struct", "enum", "trait", "type", "const", "static", "union", "macro_rules"}


def tokens_of(text: str) -> list[str]:
    """The words and marks of Rust source, without comments; of a literal only that there is one."""
    tokens, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        at = match.end()
        if match.lastgroup == "comment":
            at = end_of_comment(text, at)
        elif match["text"] or match["raw"]:
            tokens.append('""')
        elif match.lastgroup in ("word", "mark"):
            tokens.append(match[0])
    return tokens


def end_of_comment(text: str, at: int) -> int:
    """Where a block comment ends; they nest."""
    depth = 1
    while depth and (match := re.compile(r"/\*|\*/").search(text, at)):
        depth += 1 if match[0] == "/*" else -1
        at = match.end()
    return at if depth == 0 else len(text)


def after_brackets(tokens: list[str], at: int) -> int:
    """The place after the bracket that closes the one at `at`."""
    depth = 0
    while at < len(tokens):
        depth += (tokens[at] in OPENING) - (tokens[at] in CLOSING)
        at += 1
        if depth == 0:
            break
    return at


def after_item(tokens: list[str], at: int) -> int:
    """The place after the item, field or statement at `at`."""
    ends_by_semicolon = False
    while at < len(tokens):
        token = tokens[at]
        is_constant = token == "const" and tokens[at + 1 : at + 2] != ["fn"]
        ends_by_semicolon |= is_constant or token in ("use", "static", "type", "let")
        if token in OPENING:
            at = after_brackets(tokens, at)
            if token == "{" and not ends_by_semicolon:
                return at
        elif token in (";", ","):
            return at + 1
        elif token in CLOSING:
            return at
        else:
            at += 1
    return at


def only_for_tests(attribute: list[str]) -> bool:
    """Whether `cfg(…)`, as tokens, holds in a test build alone."""

    def value(at: int) -> tuple[bool | None, int]:
        """What a predicate is without tests (None: it depends on something else), and where it ends."""
        name = attribute[at]
        if attribute[at + 1 : at + 2] != ["("]:
            end = at + 1
            while end < len(attribute) and attribute[end] not in (",", ")"):
                end += 1
            return (False if name == "test" else None), end
        values, end, at = [], after_brackets(attribute, at + 1), at + 2
        while at < end - 1:
            one, at = value(at)
            values.append(one)
            at += attribute[at] == ","
        if name == "not":
            return (None if values[0] is None else not values[0]), end
        decides = name == "any"
        if decides in values:
            return decides, end
        return (None if None in values else not decides), end

    return attribute[:2] == ["cfg", "("] and value(2)[0] is False


@dataclass(eq=False)
class Module:
    """A module: its file, what it defines, what it takes by `use`, and what else its code names."""

    file: pathlib.Path
    parent: "Module | None"
    children: dict[str, "Module"] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    uses: list[tuple[list[str], str, bool]] = field(default_factory=list)
    """Path, name that it has here (`*` for all), whether others may take it from here."""
    paths: set[tuple[str, ...]] = field(default_factory=set)

    def root(self) -> "Module":
        return self if self.parent is None else self.parent.root()

    def all(self):
        """This module and all below it."""
        yield self
        for child in self.children.values():
            yield from child.all()


def read_file(file: pathlib.Path, folder: pathlib.Path, parent: Module | None) -> Module:
    """The module that a file holds, with all below it; `folder` is where its children's files are."""
    module = Module(file, parent)
    read_items(module, tokens_of(file.read_text()), folder)
    return module


def read_items(module: Module, tokens: list[str], folder: pathlib.Path) -> None:
    """Reads what stands in a module's braces. Items inside functions count as the module's own."""
    at, depth, skipped = 0, 0, False
    while at < len(tokens):
        token = tokens[at]
        if token == "#" and tokens[at + 1 : at + 2] == ["["]:
            end = after_brackets(tokens, at + 1)
            at, skipped = end, skipped or only_for_tests(tokens[at + 2 : end - 1])
            continue
        if skipped:
            at, skipped = after_item(tokens, at), False
            continue
        if token == "mod" and tokens[at + 2 : at + 3] == [";"]:
            read_child(module, tokens[at + 1], folder)
            at += 3
        elif token == "mod" and tokens[at + 2 : at + 3] == ["{"]:
            name, end = tokens[at + 1], after_brackets(tokens, at + 2)
            child = module.children[name] = Module(module.file, module)
            read_items(child, tokens[at + 3 : end - 1], folder / name)
            at = end
        elif token == "use" and tokens[at + 1 : at + 2] != ["<"]:
            end = tokens.index(";", at)
            public = tokens[at - 1 : at] == ["pub"] or tokens[at - 1 : at] == [")"]
            read_use(module, tokens[at + 1 : end], [], public)
            at = end + 1
        elif token in DEFINING and depth == 0 and (name := defined_by(tokens, at)):
            module.defined.add(name)
            at += 1
        elif re.match(r"[A-Za-z_]", token):
            at = read_path(module, tokens, at)
        else:
            depth += (token in OPENING) - (token in CLOSING)
            at += 1


def defined_by(tokens: list[str], at: int) -> str | None:
    """The name that an item defines."""
    name = next((token for token in tokens[at + 1 : at + 3] if token not in ("mut", "!")), "")
    is_name = re.match(r"[A-Za-z_]", name) and name not in DEFINING | {"unsafe", "async", "extern"}
    return name if is_name else None


def read_child(module: Module, name: str, folder: pathlib.Path) -> None:
    """Reads the file of `mod name;`, where there is one."""
    for file in (folder / f"{name}.rs", folder / name / "mod.rs"):
        if file.is_file():
            module.children[name] = read_file(file, folder / name, module)
            return
    sys.exit(f"{module.file}: no file for `mod {name}`")


def read_use(module: Module, tokens: list[str], prefix: list[str], public: bool) -> None:
    """Adds what one tree of a `use` takes."""
    path = list(prefix)
    at = 0
    while at < len(tokens):
        if tokens[at] == "{":
            for tree in split_by_comma(tokens[at + 1 : after_brackets(tokens, at) - 1]):
                read_use(module, tree, path, public)
            return
        if tokens[at] == "as":
            module.uses.append((path, tokens[at + 1], public))
            return
        if tokens[at] == "*":
            module.uses.append((path, "*", public))
            return
        if tokens[at] != "::" and not (tokens[at] == "self" and path):
            path.append(tokens[at])
        at += 1
    module.uses.append((path, path[-1], public))


def split_by_comma(tokens: list[str]) -> list[list[str]]:
    """The trees between the braces of a `use`."""
    trees, depth = [[]], 0
    for token in tokens:
        depth += (token == "{") - (token == "}")
        if token == "," and depth == 0:
            trees.append([])
        else:
            trees[-1].append(token)
    return [tree for tree in trees if tree]


def read_path(module: Module, tokens: list[str], at: int) -> int:
    """Adds the path that begins at `at`, unless it is a field or method; gives the place after it."""
    path, start = [tokens[at]], at
    at += 1
    while tokens[at : at + 1] == ["::"] and re.match(r"[A-Za-z_]", tokens[at + 1]):
        path.append(tokens[at + 1])
        at += 2
    if tokens[start - 1 : start] != ["."] and tokens[start - 1 : start] != ["::"]:
        module.paths.add(tuple(path))
    return at


@dataclass(frozen=True)
class Found:
    """What a path leads to: a name, in the module that defines it; a module alone where there is no name."""

    module: Module
    name: str | None


def resolve(module: Module, path: list[str], seen: frozenset = frozenset()) -> Found | None:
    """What a path in `module` leads to; None for what other crates define."""
    first, rest = path[0], path[1:]
    if first == "crate":
        return follow(module.root(), rest, seen)
    if first == "self":
        return follow(module, rest, seen)
    if first == "super":
        return resolve(module.parent, ["self", *rest] if rest[:1] != ["super"] else rest, seen)
    found = look_up(module, first, seen)
    return follow(found.module, rest, seen) if found and found.name is None else found


def follow(module: Module, rest: list[str], seen: frozenset) -> Found | None:
    """What the rest of a path leads to from `module`."""
    if not rest:
        return Found(module, None)
    if rest[0] == "super":
        return follow(module.parent, rest[1:], seen)
    found = look_up(module, rest[0], seen)
    if found is None:
        # Of another crate, or made by a macro of this file.
        taken = any(name in (rest[0], "*") for _, name, _ in module.uses)
        return None if taken else Found(module, rest[0])
    return follow(found.module, rest[1:], seen) if found.name is None else found


def look_up(module: Module, name: str, seen: frozenset) -> Found | None:
    """What a name means inside `module`."""
    if name in module.children:
        return Found(module.children[name], None)
    if name in module.defined:
        return Found(module, name)
    if (module, name) in seen:
        return None
    seen = seen | {(module, name)}
    for path, known_as, _ in module.uses:
        if known_as == name and (found := resolve(module, path, seen)):
            return found
    for path, known_as, _ in module.uses:
        if known_as == "*" and (all_of := resolve(module, path, seen)) and all_of.name is None:
            if found := look_up(all_of.module, name, seen):
                return found
    return None


def arrows_of(root: Module) -> dict[pathlib.Path, dict[pathlib.Path, set[str]]]:
    """From each file to the files that define what it names, with the names."""
    arrows: dict[pathlib.Path, dict[pathlib.Path, set[str]]] = {}
    for module in root.all():
        targets = arrows.setdefault(module.file, {})
        for found in named_by(module):
            if found and found.name and found.module.file != module.file:
                targets.setdefault(found.module.file, set()).add(found.name)
    return arrows


def named_by(module: Module):
    """What a module's code names. What is re-exported counts only where the module's own code says it too."""
    for path, name, public in module.uses:
        if not public and name != "*":
            yield resolve(module, path)
    for path in module.paths:
        yield resolve(module, list(path))


def circles_of(arrows: dict) -> list[list]:
    """The sets of files of which each reaches every other: Tarjan's strongly connected components."""
    order, low, stack, circles = {}, {}, [], []

    def visit(file) -> None:
        order[file] = low[file] = len(order)
        stack.append(file)
        for target in arrows.get(file, ()):
            if target not in order:
                visit(target)
                low[file] = min(low[file], low[target])
            elif target in stack:
                low[file] = min(low[file], order[target])
        if low[file] == order[file]:
            at = stack.index(file)
            circle = sorted(stack[at:])
            del stack[at:]
            if len(circle) > 1:
                circles.append(circle)

    for file in arrows:
        if file not in order:
            visit(file)
    return sorted(circles)


def crate_circles(source: pathlib.Path) -> list[tuple[list[str], list[str]]]:
    """Each circle of a crate: its files below `src`, and a line for each arrow inside it."""
    root = next(file for name in ("lib.rs", "main.rs") if (file := source / name).is_file())
    arrows = arrows_of(read_file(root, source, None))
    told = []
    for circle in circles_of(arrows):
        inside = [
            f"{file.relative_to(source)} -> {target.relative_to(source)}: {', '.join(sorted(arrows[file][target]))}"
            for file, target in itertools.product(circle, circle)
            if target in arrows[file]
        ]
        told.append(([str(file.relative_to(source)) for file in circle], inside))
    return told


def check(crates: pathlib.Path, standing: list[tuple[str, str, str]]) -> list[str]:
    """What is wrong, in lines to print."""
    problems, excused = [], {(crate, frozenset(files.split())) for crate, files, _ in standing}
    for source in sorted(crates.glob("*/src")):
        crate = source.parent.name
        for files, inside in crate_circles(source):
            if (crate, frozenset(files)) in excused:
                excused.remove((crate, frozenset(files)))
            else:
                problems.append(f"crates/{crate}/src: a circle of {len(files)} files: {', '.join(files)}")
                problems += [f"    {line}" for line in inside]
    for crate, files in excused:
        listed = ", ".join(sorted(files))
        problems.append(f"crates/{crate}/src: there is no circle of exactly these files, take it from the list: {listed}")
    return problems


def self_test() -> None:
    """Runs the check on trees of a few files, and says which of them it misjudges."""
    parent = {"lib.rs": "mod room;", "room/mod.rs": "mod a; mod b; pub use b::B; use a::f; pub struct P; fn g() { f() }"}
    cases = {
        "two files that use each other": (
            {"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "pub struct B(crate::a::A);"},
            ["a.rs, b.rs"],
        ),
        "a child that uses what its parent defines": (
            {**parent, "room/a.rs": "use super::P; pub fn f(_: P) {}", "room/b.rs": "pub struct B;"},
            ["room/a.rs, room/mod.rs"],
        ),
        "a child that uses what its parent re-exports": (
            {**parent, "room/a.rs": "pub fn f() -> super::B { super::super::room::B }", "room/b.rs": "pub struct B;"},
            [],
        ),
        "siblings, through an alias, a glob and a module's name": (
            {
                "lib.rs": "mod a; mod b; mod c;",
                "a.rs": "use crate::b as other; pub fn f() { other::g() }",
                "b.rs": "use super::c::*; pub fn g() { h() }",
                "c.rs": "use crate::{a::{self}}; pub fn h() { a::f() }",
            },
            ["a.rs, b.rs, c.rs"],
        ),
        "comments, texts, other crates and tests do not count": (
            {
                "lib.rs": "mod a; mod b; #[cfg(test)] mod tests; #[cfg(all(test, unix))] mod more;",
                "a.rs": 'use std::fmt; /* crate::b::B /* */ */ pub struct A; const T: &str = "crate::b::B"; // crate::b::B',
                "b.rs": "pub struct B(crate::a::A); fn c() -> char { '\"' } fn f(_: &'static str) {}",
                "tests.rs": "use crate::b::B;",
            },
            [],
        ),
        "an inline module of tests does not count, one that is not of tests does": (
            {
                "lib.rs": "mod a; mod b;",
                "a.rs": "pub struct A; #[cfg(test)] mod tests { use crate::b::B; } #[cfg(not(test))] fn f(_: crate::b::C) {}",
                "b.rs": "pub struct B(crate::a::A); pub struct C;",
            },
            ["a.rs, b.rs"],
        ),
    }
    for case, (files, expected) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "crate" / "src"
            for name, text in files.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_text(text)
            found = [", ".join(files) for files, _ in crate_circles(source)]
            assert found == expected, f"{case}: expected {expected}, found {found}"
            excuses = [("crate", circle.replace(",", ""), "") for circle in expected]
            assert not check(pathlib.Path(folder), excuses), f"{case}: what is excused is no problem"
            gone = check(pathlib.Path(folder), [*excuses, ("crate", "x.rs y.rs", "")])
            assert len(gone) == 1 and "x.rs, y.rs" in gone[0], f"{case}: an excuse for what is gone is a problem"


def main() -> None:
    self_test()
    if sys.argv[1:] == ["--self-test"]:
        print("circles: the check judges its own trees rightly")
        return
    problems = check(REPO / "crates", STANDING)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"circles: {len(STANDING)} still stand, {sum(not line.startswith(' ') for line in problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
