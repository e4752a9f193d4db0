"""Suites that another package runs on its own controllers, spaces and heads.

A suite is a class of tests with one method to write; pytest collects what inherits from it:

    from nas.testing.spaces import SpaceSuite

    class TestMine(SpaceSuite):
        def make_space(self):
            return MySpace()

They need pytest, which `spinenas` itself doesn't install.
"""
