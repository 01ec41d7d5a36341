/* The load: opens connections to the origin, through whatever stands between, and measures. One process, one thread.
 *
 *   load VIA PORT ORIGIN_PORT bulk-up FLOWS BYTES      all flows together carry BYTES; established before time runs
 *   load VIA PORT ORIGIN_PORT bulk-down FLOWS BYTES
 *   load VIA PORT ORIGIN_PORT connects AT_A_TIME COUNT connect, one byte there, one byte back, close: until COUNT are done
 *   load VIA PORT ORIGIN_PORT ping-pong SIZE COUNT     round trips on one connection
 *   load VIA PORT ORIGIN_PORT idle AT_A_TIME COUNT     open COUNT flows, say so, hold them until stdin ends
 *
 * VIA is `forward` (PORT leads straight to the origin), `socks5` or `connect` (HTTP). One JSON line is printed for each
 * measurement. Whatever is not as expected (a byte, a count, an error) ends the program with a message and exit code 1:
 * no figure is better than one of something else. So does a minute without an end.
 *
 * A connection of `connects` is a list of steps, each a few bytes to send and a reply to wait for, so SOCKS5's two round
 * trips, CONNECT's one and a forward's none are the same case. At its end the origin closes first; see origin.c.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DEADLINE_S = 60, EVENTS = 256, BLOCK = 1 << 18, TURN = 1 << 20, STEPS = 3, REPLY = 1024 };
enum reply { ONE_BYTE, SOCKS_METHOD, SOCKS_REPLY, HTTP_HEAD };

struct step {
    char request[192];
    int request_length;
    enum reply reply;
};

struct flow {
    int fd;
    int step;
    int sent; /* is the request of this step under way? */
    int received;
    char reply[REPLY];
    double began_s;
};

static struct step steps[STEPS];
static int step_count;
static struct sockaddr_in server = {.sin_family = AF_INET};
static char block[BLOCK];

static void die(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static void on_alarm(int signal)
{
    static const char text[] = "load: it did not end within its deadline\n";
    (void)signal;
    if (write(2, text, sizeof text - 1) > 0)
        _exit(1);
    _exit(2);
}

static void check(int condition, const char *what)
{
    if (!condition) {
        errno = 0;
        die(what);
    }
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double own_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int by_value(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void add_step(const char *request, int length, enum reply reply)
{
    memcpy(steps[step_count].request, request, (size_t)length);
    steps[step_count].request_length = length;
    steps[step_count++].reply = reply;
}

static void plan_handshake(const char *via, int origin_port)
{
    if (strcmp(via, "socks5") == 0) {
        char request[] = {5, 1, 0, 1, 127, 0, 0, 1, (char)(origin_port >> 8), (char)origin_port};
        add_step("\5\1\0", 3, SOCKS_METHOD);
        add_step(request, sizeof request, SOCKS_REPLY);
    } else if (strcmp(via, "connect") == 0) {
        char request[160];
        int length = snprintf(request, sizeof request, "CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
                              origin_port, origin_port);
        add_step(request, length, HTTP_HEAD);
    } else {
        check(strcmp(via, "forward") == 0, "VIA is forward, socks5 or connect");
    }
}

/* Is the whole reply here? One that says no, or goes on beyond its end, is the end of the measurement. */
static int complete(const struct step *step, const char *reply, int length)
{
    int wanted = 1;
    if (step->reply == SOCKS_METHOD) {
        wanted = 2;
        check(length < 2 || memcmp(reply, "\5\0", 2) == 0, "the SOCKS method was refused");
    } else if (step->reply == SOCKS_REPLY) {
        wanted = 10;
        check(length < 2 || memcmp(reply, "\5\0", 2) == 0, "the SOCKS request was refused");
        if (length >= 5 && reply[3] != 1)
            wanted = reply[3] == 4 ? 22 : 7 + (unsigned char)reply[4];
    } else if (step->reply == HTTP_HEAD) {
        const char *end = memmem(reply, (size_t)length, "\r\n\r\n", 4);
        check(length < 12 || memcmp(reply + 8, " 200", 4) == 0, "CONNECT was refused");
        wanted = end ? (int)(end - reply) + 4 : length + 1;
    } else {
        check(length < 1 || reply[0] == step->request[0], "another byte came back");
    }
    check(length <= wanted, "more came back than was asked for");
    return length == wanted;
}

/* --- one connection, blocking: bulk and ping-pong --- */

static int open_blocking(void)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
        die("connect");
    for (int i = 0; i < step_count; i++) {
        char reply[REPLY];
        int received = 0;
        if (send(fd, steps[i].request, (size_t)steps[i].request_length, MSG_NOSIGNAL) != steps[i].request_length)
            die("send");
        while (!complete(&steps[i], reply, received)) {
            ssize_t got = recv(fd, reply + received, (size_t)(REPLY - received), 0);
            if (got <= 0)
                die("the connection ended in the handshake");
            received += (int)got;
        }
    }
    return fd;
}

static void ping_pong(int size, int count)
{
    int fd = open_blocking();
    check(size <= BLOCK, "SIZE is too large");
    float *times_us = malloc(sizeof *times_us * (size_t)count);
    double all_began_s = now_s();
    if (send(fd, "E", 1, MSG_NOSIGNAL) != 1 || recv(fd, block, 1, 0) != 1)
        die("no echo");
    for (int i = 0; i < count; i++) {
        double began_s = now_s();
        if (send(fd, block, (size_t)size, MSG_NOSIGNAL) != size)
            die("send");
        if (recv(fd, block, (size_t)size, MSG_WAITALL) != size)
            die("the echo ended");
        times_us[i] = (float)((now_s() - began_s) * 1e6);
    }
    double took_s = now_s() - all_began_s;
    qsort(times_us, (size_t)count, sizeof *times_us, by_value);
    printf("{\"p50_us\": %.2f, \"p99_us\": %.2f, \"took_s\": %.4f}\n", times_us[count / 2], times_us[count * 99L / 100],
           took_s);
}

static void bulk(int up, int flows, uint64_t bytes)
{
    uint64_t each = bytes / (uint64_t)flows, left[flows];
    int fds[flows], queue = epoll_create1(0), open_flows = flows;
    for (int i = 0; i < flows; i++) {
        fds[i] = open_blocking();
        left[i] = each;
    }
    double began_s = now_s();
    for (int i = 0; i < flows; i++) {
        char head[9] = {up ? 'U' : 'D'};
        memcpy(head + 1, &each, sizeof each);
        if (send(fds[i], head, sizeof head, MSG_NOSIGNAL) != sizeof head)
            die("send");
        struct epoll_event event = {.events = up ? EPOLLOUT : EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(queue, EPOLL_CTL_ADD, fds[i], &event);
    }
    while (open_flows > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(queue, events, EVENTS, -1);
        for (int e = 0; e < count; e++) {
            int i = (int)events[e].data.u32;
            if (up && left[i] > 0) {
                for (int turn = 0; left[i] > 0 && turn < TURN;) {
                    ssize_t sent = send(fds[i], block, left[i] < BLOCK ? left[i] : BLOCK, MSG_NOSIGNAL | MSG_DONTWAIT);
                    if (sent < 0 && errno == EAGAIN)
                        break;
                    if (sent < 0)
                        die("send");
                    left[i] -= (uint64_t)sent;
                    turn += (int)sent;
                }
                if (left[i] == 0) {
                    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
                    epoll_ctl(queue, EPOLL_CTL_MOD, fds[i], &event);
                }
            } else if (up) {
                uint64_t taken;
                if (recv(fds[i], &taken, sizeof taken, MSG_WAITALL) != sizeof taken)
                    die("the origin's count did not come");
                check(taken == each, "the origin got another number of bytes");
                close(fds[i]);
                open_flows--;
            } else {
                ssize_t got = recv(fds[i], NULL, TURN, MSG_TRUNC | MSG_DONTWAIT); /* counted and dropped, uncopied */
                if (got < 0)
                    die("recv");
                check((uint64_t)got <= left[i], "too many bytes came");
                left[i] -= (uint64_t)got;
                if (got == 0 || left[i] == 0) {
                    check(left[i] == 0, "bytes are missing");
                    close(fds[i]);
                    open_flows--;
                }
            }
        }
    }
    double took_s = now_s() - began_s;
    printf("{\"gib_per_s\": %.4f, \"bytes\": %llu, \"took_s\": %.4f, \"load_cpu_s\": %.3f}\n",
           (double)(each * (uint64_t)flows) / (1 << 30) / took_s, (unsigned long long)(each * (uint64_t)flows), took_s,
           own_cpu_s());
}

/* --- many connections, none of them blocking: connects and idle --- */

static void start(struct flow *flow, int queue)
{
    int one = 1;
    flow->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    flow->step = flow->sent = flow->received = 0;
    flow->began_s = now_s();
    if (flow->fd < 0)
        die("socket");
    setsockopt(flow->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(flow->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
        die("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = flow};
    if (epoll_ctl(queue, EPOLL_CTL_ADD, flow->fd, &event) < 0)
        die("epoll_ctl");
}

/* Take the steps that can be taken now; true once the last one's reply is here. */
static int advance(struct flow *flow)
{
    while (flow->step < step_count) {
        const struct step *step = &steps[flow->step];
        if (!flow->sent) {
            ssize_t sent = send(flow->fd, step->request, (size_t)step->request_length, MSG_NOSIGNAL);
            if (sent < 0 && errno == EAGAIN)
                return 0; /* not connected yet */
            if (sent != step->request_length)
                die("send");
            flow->sent = 1;
        }
        ssize_t got = recv(flow->fd, flow->reply + flow->received, (size_t)(REPLY - flow->received), 0);
        if (got < 0 && errno == EAGAIN)
            return 0;
        if (got <= 0)
            die("a connection ended early");
        flow->received += (int)got;
        if (complete(step, flow->reply, flow->received)) {
            flow->step++;
            flow->sent = flow->received = 0;
        }
    }
    return 1;
}

static void connects(int at_a_time, int total)
{
    int queue = epoll_create1(0), started = 0, done = 0;
    struct flow *flows = calloc((size_t)at_a_time, sizeof *flows);
    float *times_us = malloc(sizeof *times_us * (size_t)total);
    char *answered = calloc((size_t)at_a_time, 1);
    add_step("O", 1, ONE_BYTE);
    double began_s = now_s();
    for (; started < at_a_time && started < total; started++)
        start(&flows[started], queue);
    int answers = 0;
    while (done < total) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(queue, events, EVENTS, -1);
        for (int e = 0; e < count; e++) {
            struct flow *flow = events[e].data.ptr;
            char *has_answer = &answered[flow - flows];
            if (!*has_answer) {
                if (!advance(flow))
                    continue;
                *has_answer = 1;
                times_us[answers++] = (float)((now_s() - flow->began_s) * 1e6);
            }
            char byte;
            ssize_t got = recv(flow->fd, &byte, 1, 0);
            if (got < 0 && errno == EAGAIN)
                continue;
            if (got < 0)
                die("a connection did not end by FIN");
            check(got == 0, "more than one byte came back");
            close(flow->fd);
            *has_answer = 0;
            done++;
            if (started < total) {
                started++;
                start(flow, queue);
            }
        }
    }
    double took_s = now_s() - began_s;
    qsort(times_us, (size_t)total, sizeof *times_us, by_value);
    printf("{\"per_s\": %.2f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"count\": %d, \"took_s\": %.4f, \"load_cpu_s\": %.3f}\n",
           total / took_s, times_us[total / 2], times_us[total * 99L / 100], total, took_s, own_cpu_s());
}

static void idle(int at_a_time, int total)
{
    int queue = epoll_create1(0), started = 0, done = 0;
    struct flow *flows = calloc((size_t)total, sizeof *flows);
    add_step("I", 1, ONE_BYTE);
    for (; started < at_a_time && started < total; started++)
        start(&flows[started], queue);
    while (done < total) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(queue, events, EVENTS, -1);
        for (int e = 0; e < count; e++) {
            struct flow *flow = events[e].data.ptr;
            if (flow->step == step_count || !advance(flow))
                continue;
            done++;
            if (started < total)
                start(&flows[started++], queue);
        }
    }
    printf("{\"open\": %d}\n", done);
    fflush(stdout);
    alarm(0);
    char command;
    while (read(0, &command, 1) > 0)
        ;
    alarm(DEADLINE_S);
    /* Still open? Then each answers to its last byte with its end. */
    for (int i = 0; i < total; i++)
        if (send(flows[i].fd, "x", 1, MSG_NOSIGNAL) != 1)
            die("a flow did not last");
    for (int i = 0; i < total; i++) {
        struct epoll_event event;
        ssize_t got;
        while ((got = recv(flows[i].fd, &command, 1, 0)) < 0 && errno == EAGAIN)
            epoll_wait(queue, &event, 1, 10);
        if (got < 0)
            die("a flow did not end by FIN");
        check(got == 0, "an idle flow said something");
        close(flows[i].fd);
    }
    printf("{\"closed\": %d}\n", total);
}

int main(int argc, char **argv)
{
    signal(SIGALRM, on_alarm);
    alarm(DEADLINE_S);
    check(argc == 7, "usage: load VIA PORT ORIGIN_PORT QUANTITY NUMBER NUMBER");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    const char *host = getenv("LOAD_HOST"); /* another address than loopback, for ends in other networks */
    server.sin_addr.s_addr = host ? inet_addr(host) : htonl(INADDR_LOOPBACK);
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    plan_handshake(argv[1], atoi(argv[3]));
    int first = atoi(argv[5]);
    long long second = atoll(argv[6]);
    check(first > 0 && second > 0, "numbers are positive");
    if (strcmp(argv[4], "bulk-up") == 0 || strcmp(argv[4], "bulk-down") == 0)
        bulk(strcmp(argv[4], "bulk-up") == 0, first, (uint64_t)second);
    else if (strcmp(argv[4], "connects") == 0)
        connects(first, (int)second);
    else if (strcmp(argv[4], "ping-pong") == 0)
        ping_pong(first, (int)second);
    else if (strcmp(argv[4], "idle") == 0)
        idle(first, (int)second);
    else
        check(0, "no such quantity");
}
