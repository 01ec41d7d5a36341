"""The scripts of both articles, word for word, and what they printed.

r4um, "VMware Fusion: ssh connection reset", May 2019: `MARKED_BEFORE`, `MARKED_AFTER`.
PythonPig, "TCP keepalive in VMware NAT mode", September 2017: `KEEPALIVE`, `LONE_SYN`.
"""

from __future__ import annotations

WEB_SERVER, WEB_PORT = "192.30.253.113", 80
ANSWER = b"HTTP/1.1 301 Moved Permanently\r\nContent-length: 0\r\nLocation: https:///\r\nConnection: close\r\n\r\n"

MARKED_BEFORE = """\
import socket

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, bytes([0x48]))
s.connect(("192.30.253.113" , 80))
s.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
r = s.recv(4096)
s.close
print(r)
"""
MARKED_AFTER = """\
import socket

s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.connect(("192.30.253.113" , 80))
s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, bytes([0x48]))
s.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
r = s.recv(4096)
s.close
print(r)
"""
ANSWERED = f"{ANSWER!r}\n"
RESET = """\
Traceback (most recent call last):
  File "ip_ds_48.py", line 7, in <module>
    r = s.recv(4096)
ConnectionResetError: [Errno 104] Connection reset by peer
"""

KEEPALIVE_SERVER, KEEPALIVE_PORT = "192.168.11.2", 57212
KEEPALIVE = """\
#usage:python tcp_keepalive.py
#>"test"

#-*- coding:utf-8 -*-

import socket

HOST ='192.168.11.2'
PORT = 57212
BUFFSIZE=2048
ADDR = (HOST,PORT)

def set_keepalive_linux(sock, after_idle_sec=1, interval_sec=3, max_fails=5):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, after_idle_sec)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_sec)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, max_fails)

tctimeClient = socket.socket(socket.AF_INET,socket.SOCK_STREAM)
set_keepalive_linux(tctimeClient,5,1,50)
tctimeClient.connect(ADDR)

while True:
    data = input(">")
    if not data:
        break
    tctimeClient.send(data.encode())
    data = tctimeClient.recv(BUFFSIZE).decode()
    if not data:
        break
    print(data)
tctimeClient.close()
"""
LONE_SYN = 'sr1(IP(dst="192.168.11.2")/TCP(dport=57212,flags="S"))'
