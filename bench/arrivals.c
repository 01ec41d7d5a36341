/* Arrivals: what a line does to bytes, seen at the end where they arrive. One process, one thread; see origin.c.
 *
 *   arrivals HOST PORT echo FLOWS MS SPREAD_MS PAUSE_MS
 *       a byte there and back, over and over, on FLOWS connections for MS, with PAUSE_MS between a byte's return and the
 *       next one; their first bytes are spread over SPREAD_MS, so that they do not come together
 *   arrivals HOST PORT rate MS
 *       how fast bytes come for MS, from the first arrival on
 *
 * One JSON line is printed. Of the first exchange of each connection no figure is taken. What is not as expected ends
 * the program with a message and exit code 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { AT_A_TIME = 64, EVENTS = 256, TURN = 1 << 20, MOST_PER_FLOW = 20000, GRACE_S = 30 };

static struct sockaddr_in server = {.sin_family = AF_INET};

static void die(const char *what)
{
    fprintf(stderr, "arrivals: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Connects so many at a time: one after the other, each would wait for the line. */
static void open_all(int *fds, int count)
{
    for (int from = 0, to; from < count; from = to) {
        to = from + AT_A_TIME < count ? from + AT_A_TIME : count;
        for (int i = from; i < to; i++) {
            fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            if (fds[i] < 0 || (connect(fds[i], (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS))
                die("connect");
        }
        for (int i = from; i < to; i++) {
            struct pollfd writable = {.fd = fds[i], .events = POLLOUT};
            socklen_t size = sizeof errno;
            int one = 1;
            if (poll(&writable, 1, -1) != 1 || getsockopt(fds[i], SOL_SOCKET, SO_ERROR, &errno, &size) < 0 || errno)
                die("connect");
            setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            fcntl(fds[i], F_SETFL, 0); /* blocking */
        }
    }
}

static void send_byte(int fd)
{
    if (send(fd, "E", 1, MSG_NOSIGNAL) != 1)
        die("send");
}

static void echo(int flows, double seconds, double spread_s, double pause_s)
{
    int *pausing = malloc(sizeof *pausing * (size_t)flows), paused = 0, next = 0; /* a ring: all pauses are as long */
    int *fds = malloc(sizeof *fds * (size_t)flows), queue = epoll_create1(0), begun = 0, first = 0;
    double *sent_s = calloc((size_t)flows, sizeof *sent_s), *came_s = calloc((size_t)flows, sizeof *came_s);
    char *warm = calloc((size_t)flows, 1);
    size_t count = 0, most = (size_t)flows * MOST_PER_FLOW;
    double *times_ms = malloc(sizeof *times_ms * most);
    open_all(fds, flows);
    for (int i = 0; i < flows; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(queue, EPOLL_CTL_ADD, fds[i], &event) < 0)
            die("epoll_ctl");
    }
    double began_s = now_s(), end_s = began_s + spread_s + seconds;
    for (;;) {
        double at_s = now_s();
        for (; begun < flows && began_s + spread_s * begun / flows <= at_s; begun++) {
            sent_s[begun] = now_s();
            send_byte(fds[begun]);
        }
        for (; paused && came_s[pausing[next]] + pause_s <= at_s; next = (next + 1) % flows, paused--) {
            sent_s[pausing[next]] = now_s();
            send_byte(fds[pausing[next]]);
        }
        if (at_s >= end_s)
            break;
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(queue, events, EVENTS, begun < flows || paused ? 1 : 100);
        for (int e = 0; e < ready; e++) {
            int i = (int)events[e].data.u32;
            char byte;
            if (recv(fds[i], &byte, 1, 0) != 1 || byte != 'E')
                die("another byte came back, or none");
            came_s[i] = now_s();
            if (!warm[i]) {
                warm[i] = 1;
                first++;
            } else if (count < most)
                times_ms[count++] = (came_s[i] - sent_s[i]) * 1e3;
            if (pause_s > 0) {
                pausing[(next + paused++) % flows] = i;
                continue;
            }
            sent_s[i] = now_s();
            send_byte(fds[i]);
        }
    }
    errno = 0;
    if (first < flows || count == 0)
        die("not every connection has had its byte back");
    qsort(times_ms, count, sizeof *times_ms, by_value);
    printf("{\"p50_ms\": %.4f, \"p99_ms\": %.4f, \"max_ms\": %.4f, \"count\": %zu}\n", times_ms[count / 2],
           times_ms[count * 99 / 100], times_ms[count - 1], count);
}

static void rate(double seconds)
{
    int fd;
    open_all(&fd, 1);
    uint64_t endless = (uint64_t)1 << 62, bytes = 0;
    char head[9] = {'D'};
    memcpy(head + 1, &endless, sizeof endless);
    if (send(fd, head, sizeof head, MSG_NOSIGNAL) != sizeof head)
        die("send");
    double began_s = 0, last_s = 0;
    while (last_s <= began_s || last_s - began_s < seconds) {
        ssize_t got = recv(fd, NULL, TURN, MSG_TRUNC); /* counted and dropped, uncopied */
        if (got <= 0)
            die("the bytes ended");
        last_s = now_s();
        if (began_s == 0)
            began_s = last_s; /* what came first is where the time begins */
        else
            bytes += (uint64_t)got;
    }
    printf("{\"bytes_per_s\": %.1f, \"took_s\": %.4f}\n", (double)bytes / (last_s - began_s), last_s - began_s);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    errno = 0;
    if (argc < 5)
        die("usage: arrivals HOST PORT echo FLOWS MS SPREAD_MS PAUSE_MS, or rate MS");
    server.sin_addr.s_addr = inet_addr(argv[1]);
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    if (strcmp(argv[3], "echo") == 0 && argc == 8) {
        double seconds = atof(argv[5]) / 1e3, spread_s = atof(argv[6]) / 1e3;
        alarm((unsigned)(seconds + spread_s) + GRACE_S);
        echo(atoi(argv[4]), seconds, spread_s, atof(argv[7]) / 1e3);
    } else if (strcmp(argv[3], "rate") == 0) {
        alarm((unsigned)(atof(argv[4]) / 1e3) + GRACE_S);
        rate(atof(argv[4]) / 1e3);
    } else
        die("no such quantity");
}
