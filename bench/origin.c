/* The origin: what stands at the far end of every measured connection. One process, one epoll, no threads.
 *
 * The first byte of a connection says what it is for:
 *
 *   U count  take in `count` bytes (8 bytes, the host's order), then send their number likewise, and close: no half-close
 *            is needed, which some proxies do not carry
 *   D count  send `count` bytes, and close
 *   E        send everything back, this first byte too
 *   O        send this one byte back and close: it is the origin that closes first, so that TIME_WAIT stays on its own
 *            port and no ephemeral port of a client or a proxy is held by it
 *   I        send this one byte back; close at the next one (a flow that idles until the driver ends it)
 *
 * It listens on a port of 127.0.0.1 that it picks and prints, and ends when its stdin does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 256, BLOCK = 1 << 18, TURN = 1 << 20, HEAD = 9 };

struct connection {
    char mode;       /* the first byte; 0 until it is here */
    int head_length; /* of `head` */
    char head[HEAD];
    uint64_t wanted; /* U and D: bytes in all */
    uint64_t count;  /* U: received so far, D: still to send */
};

static char block[BLOCK];
static struct connection *connections; /* by descriptor */
static int queue;

static void die(const char *what)
{
    fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_all(int fd, const void *data, size_t length)
{
    /* Answers are a few bytes, and a peer that lets its window fill up with them is not measuring anything. */
    ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
    if (sent >= 0 && (size_t)sent != length) {
        errno = ENOBUFS;
        die("an answer did not fit");
    }
}

static void send_down(int fd, struct connection *connection)
{
    for (size_t turn = 0; connection->count > 0 && turn < TURN;) {
        size_t length = connection->count < BLOCK ? connection->count : BLOCK;
        ssize_t sent = send(fd, block, length, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                close(fd);
            return;
        }
        connection->count -= (uint64_t)sent;
        turn += (size_t)sent;
    }
    if (connection->count == 0)
        close(fd);
}

static void begin(int fd, struct connection *connection)
{
    /* Of U and D, wait for the whole head; of the others, the first byte is all of it. */
    size_t wanted = connection->head_length > 0 ? HEAD - (size_t)connection->head_length : 1;
    ssize_t got = recv(fd, connection->head + connection->head_length, wanted, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            close(fd);
        return;
    }
    connection->head_length += (int)got;
    char mode = connection->head[0];
    if (mode == 'O') {
        send_all(fd, &mode, 1);
        close(fd);
    } else if (mode == 'E' || mode == 'I') {
        connection->mode = mode;
        send_all(fd, &mode, 1);
    } else if (mode != 'U' && mode != 'D') {
        errno = EPROTO;
        die("not a byte that says what to do");
    } else if (connection->head_length == HEAD) {
        connection->mode = mode;
        memcpy(&connection->wanted, connection->head + 1, sizeof connection->wanted);
        if (mode == 'U')
            return;
        connection->count = connection->wanted;
        struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
        if (epoll_ctl(queue, EPOLL_CTL_MOD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

static void receive_up(int fd, struct connection *connection)
{
    /* MSG_TRUNC counts the bytes and drops them uncopied, so that this end costs next to nothing. */
    ssize_t got = recv(fd, NULL, TURN, MSG_TRUNC);
    if (got > 0)
        connection->count += (uint64_t)got;
    if (connection->count >= connection->wanted)
        send_all(fd, &connection->count, sizeof connection->count);
    if (connection->count >= connection->wanted || got == 0 || (got < 0 && errno != EAGAIN))
        close(fd);
}

static void answer(int fd, struct connection *connection)
{
    ssize_t got = recv(fd, block, BLOCK, 0);
    if (got > 0 && connection->mode == 'E')
        send_all(fd, block, (size_t)got);
    else if (got >= 0 || errno != EAGAIN)
        close(fd);
}

static void accept_all(int listener, rlim_t limit)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED)
                return;
            die("accept4");
        }
        if ((rlim_t)fd >= limit)
            die("descriptor beyond the limit");
        connections[fd] = (struct connection){0};
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

int main(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || !(connections = calloc(files.rlim_cur, sizeof *connections)))
        die("descriptors");

    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const char *host = getenv("ORIGIN_HOST"); /* another address to listen on, for ends in other networks */
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = host ? inet_addr(host) : htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* what is accepted inherits it */
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, BACKLOG) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    queue = epoll_create1(0);
    struct epoll_event of_listener = {.events = EPOLLIN, .data.fd = listener};
    struct epoll_event of_stdin = {.events = EPOLLIN, .data.fd = 0};
    if (epoll_ctl(queue, EPOLL_CTL_ADD, listener, &of_listener) < 0 || epoll_ctl(queue, EPOLL_CTL_ADD, 0, &of_stdin) < 0)
        die("epoll_ctl");
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(queue, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == 0)
                return 0;
            if (fd == listener)
                accept_all(listener, files.rlim_cur);
            else if (connections[fd].mode == 0)
                begin(fd, &connections[fd]);
            else if (connections[fd].mode == 'D')
                send_down(fd, &connections[fd]);
            else if (connections[fd].mode == 'U')
                receive_up(fd, &connections[fd]);
            else
                answer(fd, &connections[fd]);
        }
    }
}
