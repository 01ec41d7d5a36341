"""A TCP peer that does what its standard input says, one command a line, and answers each with a line.

connect ADDRESS PORT    tos BYTE    send TEXT    keepalive SECONDS    receive    pid    close    reset    listen ADDRESS
"""

import os
import socket
import struct
import sys


def main() -> None:
    sock = socket.socket()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for line in sys.stdin:
        command, *arguments = line.split()
        answer = "ok"
        match command:
            case "connect":
                sock.connect((arguments[0], int(arguments[1])))
            case "listen":
                with socket.create_server((arguments[0], 0)) as listener:
                    sys.stdout.write(f"{listener.getsockname()[1]}\n")
                    sys.stdout.flush()
                    sock.close()
                    sock, _ = listener.accept()
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                continue
            case "tos":
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, int(arguments[0], 0))
            case "send":
                sock.sendall(arguments[0].encode())
            case "keepalive":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(arguments[0]))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, int(arguments[0]))
            case "receive":
                try:
                    answer = repr(sock.recv(65536))
                except OSError as fault:
                    answer = type(fault).__name__
            case "pid":
                answer = str(os.getpid())
            case "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            case "close":
                sock.close()
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


main()
