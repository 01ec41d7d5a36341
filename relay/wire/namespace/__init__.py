"""A network of its own for one command: namespaces, a device in them, and the descriptor of that device out here.

    relay process                         helper process (one thread: `unshare` demands it)
    open_namespace  --- starts --->       namespaces, device, addresses, routes, resolv.conf
                    <-- descriptors ---
    start           --- "go" -------->    becomes the command

`opening` is the relay's side. `helper` and what it imports run in the other process, with the standard library alone,
so nothing is imported here. Linux alone.
"""
