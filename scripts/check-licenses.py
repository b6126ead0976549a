#!/usr/bin/env python3
"""Fails when a crate in the build has a licence outside the list in deny.toml, or comes from outside the registry.

Works offline on `cargo metadata`; cargo-deny says the same and more where it is installed.
"""

import json
import pathlib
import re
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent


def allowed_licenses() -> set[str]:
    """The names in deny.toml's `[licenses] allow`; read by hand, as Python before 3.11 has no TOML."""
    text = (REPO / "deny.toml").read_text()
    block = re.search(r"^\[licenses\].*?^allow = \[(.*?)^\]", text, re.S | re.M)
    if block is None:
        sys.exit("deny.toml has no `allow` list under [licenses]")
    return set(re.findall(r'"([^"]+)"', block.group(1)))


def satisfied(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met with allowed licences: recursive descent over OR, AND and parentheses."""
    # Old crates write `MIT/Apache-2.0` for OR.
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    position = 0

    def peek() -> str | None:
        return tokens[position] if position < len(tokens) else None

    def take() -> str:
        nonlocal position
        position += 1
        return tokens[position - 1]

    def either() -> bool:
        result = both()
        while peek() == "OR":
            take()
            right = both()
            result = result or right
        return result

    def both() -> bool:
        result = single()
        while peek() == "AND":
            take()
            right = single()
            result = result and right
        return result

    def single() -> bool:
        name = take()
        if name == "(":
            result = either()
            take()
            return result
        if peek() == "WITH":
            take()
            # An exception only grants more than the licence it belongs to.
            return f"{name} WITH {take()}" in allowed or name in allowed
        return name in allowed

    return either()


def main() -> None:
    allowed = allowed_licenses()
    metadata = json.loads(
        subprocess.check_output(
            ["cargo", "metadata", "--format-version=1", "--all-features", "--locked"], cwd=REPO
        )
    )
    problems = []
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        expression = package.get("license")
        source = package.get("source")
        if source is not None and not source.startswith(("registry+", "sparse+")):
            problems.append(f"{name}: comes from {source}, not from the registry")
        if expression is None:
            if not package.get("license_file"):
                problems.append(f"{name}: states no licence")
            else:
                problems.append(f"{name}: has a licence file of its own; look at it and name it in deny.toml")
        elif not satisfied(expression, allowed):
            problems.append(f"{name}: {expression} is not in deny.toml's list")
    for problem in sorted(problems):
        print(problem, file=sys.stderr)
    print(f"licences: {len(metadata['packages'])} crates, {len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
