"""A soak: a relay in a process of its own carries mixed real traffic, and everything about it must hold all the while.

    python -m bench.soak --seconds 600 --backend trio --seed 7

    this process                                       the relay's process (relay_process.py)
    slots, each playing one flow after the other  -->  proxy, forwards, inbound forwards
      plans.py    what a flow is to do, drawn from seed and number
      flows.py    plays it: both of its ends are plain sockets here (ends.py, http.py, openings.py)
      verdicts.py what must have come of it, at both ends and in the relay's own records
    weather.py    freezes and thaws sides, changes settings        <-- commands, records --> (subject.py)
    vitals.py     flows, descriptors, tasks, objects, memory, at each lull

Every so often there is a lull: the slots finish what they play, and the relay must be back to what it was before any
traffic. Nothing of the traffic is in the relay's process, so what grows there is the relay's.
"""
