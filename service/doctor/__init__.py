"""`butie doctor`: whether this installation is fit to pay out money. One module for each check.

The doctor reads and changes nothing. A check that cannot run, because an engine is away or refuses
the question, gives the level `unknown`.
"""
