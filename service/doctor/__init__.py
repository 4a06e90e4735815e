"""`butie doctor`: is this installation fit to pay out money? One small module for each check.

It reads and changes nothing. A check that cannot be made, because an engine is away or does not
let itself be asked, says so.
"""
