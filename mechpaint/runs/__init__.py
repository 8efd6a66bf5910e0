"""Runs: what is to be done, done in cells that survive, and kept in a folder that can be taken up again.

`plan` says what a run will do (`scored`, `searched`, `measured` and `experiment` do so for each kind of analysis),
`running` does it, `folder` and `cells` keep it, `others` takes over what other runs hold, `manifest` and `reporting`
draw it again.
"""
