"""The suite that every space passes, run on ours."""

from __future__ import annotations

from nas.space import Space
from nas.testing.controllers import SPACES
from nas.testing.spaces import SpaceSuite
from search_spaces.mobile import MobileSpace
from search_spaces.spinenet import SpineNetSpace


class TestProduct(SpaceSuite):
    def make_space(self) -> Space:
        return SPACES["product"]()


class TestMasked(SpaceSuite):
    def make_space(self) -> Space:
        return SPACES["masked"]()


class TestSpineNet(SpaceSuite):
    def make_space(self) -> Space:
        return SpineNetSpace(intermediates=6)


class TestMobile(SpaceSuite):
    def make_space(self) -> Space:
        return MobileSpace(variant="ibn")


class TestTruncated(SpaceSuite):
    def make_space(self) -> Space:
        return MobileSpace(backbone="mobilenetv2-1.0", input_factors=(1.0,))


class TestLite(SpaceSuite):
    def make_space(self) -> Space:
        return MobileSpace(backbone="efficientnet-lite0", input_factors=(1.0,))


class TestSeveralLites(SpaceSuite):
    walked = 1000

    def make_space(self) -> Space:
        names = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
        return MobileSpace(backbone=names, input_factors=(1.0,))
