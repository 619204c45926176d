"""`python -m clients.demo --stack var/stack.json`: run the story. Exit code 0: all as expected; 1: not all; 2: no stack runs."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from rich.console import Console

from clients.demo.play import Play
from clients.demo.scene import NoStack, Scene, read_stack
from clients.demo.screen import JsonScreen, RichScreen, Screen
from clients.demo.story import STORY


def main(argv: list[str] | None = None) -> int:
    """Run the story; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m clients.demo", description="A story on a running Pabal stack.")
    parser.add_argument("--stack", type=Path, default=Path("var/stack.json"), help="what runs where [var/stack.json]")
    parser.add_argument("--json", action="store_true", help="one JSON document, for programs")
    options = parser.parse_args(argv)
    # The SDK's warnings would stand across the picture; what matters of them fails a step.
    logging.getLogger("pabal.client").addHandler(logging.NullHandler())
    try:
        stack = read_stack(options.stack)
    except NoStack as missing:
        Console(stderr=True).print(f"No stack is running: {missing}", markup=False, highlight=False, soft_wrap=True)
        return 2
    screen: Screen = JsonScreen() if options.json else RichScreen(Console())
    scene = Scene(stack, screen.say)
    play = Play(STORY, scene)
    results = []
    try:
        for name in play.names():
            screen.begin(play.title(name))
            results.append(play.run(name))
            screen.end(results[-1])
    finally:
        scene.close()
    screen.finish(results)
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
