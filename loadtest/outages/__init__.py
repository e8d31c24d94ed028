"""Faults of everything behind the gates, one by one, on real processes with load running.

fault.py      what a fault is, and where each lies
scene.py      the processes that it is done to: Redis, who writes there, verifiers of all engines
*_scene.py    those that more than one area needs
gates.py      honest gates, which scan all the time and know each verdict that must come back
trial.py      one fault from before to after, and what came of it
signs.py      how faults show in metrics
faults.py     all of them; those of each area are in a module of its own, <area>_faults.py
command.py    `python -m loadtest outages`
table.py      what came of them all, for a terminal and for the README
"""
