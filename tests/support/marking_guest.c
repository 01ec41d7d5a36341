/* In a guest that has no Python: a connection whose TOS byte changes under way.

       marking-guest ADDRESS PORT TOS

   sends "plain", takes what the server answers, and sends "marked" with that TOS byte; then says what came of it. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

int main(int count, char **words) {
    if (count != 4)
        return 2;
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    if (inet_pton(AF_INET, words[1], &server.sin_addr) != 1)
        return 2;
    int tos = strtol(words[3], NULL, 0), off = 0, connection = socket(AF_INET, SOCK_STREAM, 0);
    char answer[100];
    must(connect(connection, (struct sockaddr *)&server, sizeof server), "connect");
    must(write(connection, "plain", 5), "write");
    /* So that the answer is acknowledged by the marked segment, as an interactive session's would be. */
    must(setsockopt(connection, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off), "TCP_QUICKACK");
    must(read(connection, answer, sizeof answer), "read");
    must(setsockopt(connection, IPPROTO_IP, IP_TOS, &tos, sizeof tos), "IP_TOS");
    must(write(connection, "marked", 6), "write");
    if (read(connection, answer, sizeof answer) < 0)
        perror("after the mark");
    else
        puts("after the mark: answered");
    return 0;
}
