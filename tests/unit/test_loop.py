"""What goes on from an object's entry to its exit: nothing of it is left, and nothing that went wrong in it is lost."""

import asyncio

import pytest

from lamplighter.model.loop import Loop


class Noting(Loop):
    def __init__(self, broken: bool) -> None:
        self.noted: list[str] = []
        self._broken = broken

    async def _go_on(self) -> None:
        self.noted.append("began")
        if self._broken:
            raise ValueError("a bug")
        try:
            await asyncio.Event().wait()
        finally:
            self.noted.append("ended")

    async def _finish(self) -> None:
        self.noted.append("finished")


def test_it_is_over_before_the_rest_is_done() -> None:
    async def main() -> list[str]:
        async with Noting(broken=False) as noting:
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        return noting.noted

    assert asyncio.run(main()) == ["began", "ended", "finished"]


def test_what_went_wrong_in_it_is_raised_after_the_rest_is_done() -> None:
    async def main() -> None:
        async with noting:
            await asyncio.sleep(0)

    noting = Noting(broken=True)
    with pytest.raises(ValueError, match="a bug"):
        asyncio.run(main())
    assert noting.noted == ["began", "finished"]
