"""Runs steps: each once, after those that it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chat.errors import PabalError
from clients.demo.scene import Scene, Unexpected
from clients.python import ClientError


@dataclass(frozen=True, slots=True)
class Step:
    """A sentence of the story.

    Attributes:
        name: stable, for programs.
        title: for people.
        act: does it, and returns what came of it in one line; raises `Unexpected` when the story breaks.
        needs: names of the steps without which it makes no sense.
    """

    name: str
    title: str
    act: Callable[[Scene], str]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a step. `ms`: how long it took, in milliseconds."""

    name: str
    title: str
    ok: bool
    detail: str
    ms: int
    skipped: bool = False


class Play:
    """The story on one scene.

    Args:
        steps: in the order of the story; a step needs only earlier ones.
        scene: what they act on.
    """

    def __init__(self, steps: Sequence[Step], scene: Scene) -> None:
        self._steps = {step.name: step for step in steps}
        self._scene = scene
        self._results: dict[str, Result] = {}

    def names(self) -> list[str]:
        """The steps, in the order of the story."""
        return list(self._steps)

    def title(self, name: str) -> str:
        """What a step is called."""
        return self._steps[name].title

    def run(self, name: str) -> Result:
        """One step, after those that it needs; what was run already is not run again."""
        if name not in self._results:
            step = self._steps[name]
            failed = [need for need in step.needs if not self.run(need).ok]
            self._results[name] = _skip(step, failed) if failed else self._act(step)
        return self._results[name]

    def _act(self, step: Step) -> Result:
        start = time.monotonic()
        try:
            detail, ok = step.act(self._scene), True
        except Unexpected as unexpected:
            detail, ok = str(unexpected), False
        except (ClientError, PabalError, OSError, ValueError) as error:
            # What the SDK raises where the story expects success: it belongs on the screen, not into a traceback.
            detail, ok = f"{type(error).__name__}: {error}", False
        return Result(step.name, step.title, ok, detail, round((time.monotonic() - start) * 1000))


def _skip(step: Step, failed: list[str]) -> Result:
    return Result(step.name, step.title, ok=False, detail=f"skipped: needs {', '.join(failed)}", ms=0, skipped=True)
