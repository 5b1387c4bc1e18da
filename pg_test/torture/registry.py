"""The kinds of fault by name: each a function that makes one happen to a call, and says how the call ended."""

import time

from .calls import state

KINDS = {}


def kind(weight):
    """Registers a kind, and how often it comes."""

    def register(function):
        KINDS[function.__name__.replace("_", " ")] = (weight, function)
        return function

    return register


def choose(chance, wanted):
    """A kind by its weight among the wanted ones."""
    weights = [KINDS[name][0] for name in wanted]
    return chance.choices(wanted, weights)[0] if any(weights) else chance.choice(wanted)


def pick(arena, chance, wanted=lambda call: True):
    return chance.choice([call for call in arena.calls.values() if wanted(call)])


def large(call):
    return "large" in call.name or call.answer is not None or call.name == "query slow"


def started(arena, chance, call):
    """The call in its session, and a moment of its run has passed."""
    before = state(call.target) if call.target else None
    workers = chance.choice((0, 0, 1, 2, 4))
    work = arena.start(call.text(workers))
    time.sleep(chance.random() * 1.1 * arena.durations.get(call.name, 0.05))
    return work, before
