"""The command line: `relay serve`, `relay run`, and the other commands of `relay.cli.app`.

Data goes to stdout, talk to stderr. A mistake is answered with one line that names it and a hint, and exit code 2; what
this host cannot do with exit code 3. Every option can be set by an environment variable instead.

    main      runs a command line, and words what went wrong
    app       the commands, each in a module of its own that imports what it needs
"""
