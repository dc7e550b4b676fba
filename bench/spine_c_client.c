// The C client's side of `spine_publish_cpu_c`: publishes what it reads, so many in flight, and says what that cost.
//
//     client URL WINDOW < messages        (see `_packed` in spine_c_client.py)
//
// As for the other clients, messages are in memory before the clock starts; headers are put together while it runs.

#include <nats/nats.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MOST = 1 << 20, MOST_HEADERS = 16 };

typedef struct {
    char *subject, *names[MOST_HEADERS], *values[MOST_HEADERS], *body;
    uint32_t headers, size;
} Message;

static volatile long acked = 0, refused = 0;

static void require(natsStatus status, const char *what) {
    if (status != NATS_OK) {
        printf("%s: %s\n", what, natsStatus_GetText(status));
        exit(1);
    }
}

// The library calls this from one thread.
static void on_answer(jsCtx *js, natsMsg *message, jsPubAck *answer, jsPubAckErr *error, void *closure) {
    (void)js, (void)closure;
    if (error != NULL || answer == NULL) refused++;
    else acked++;
    natsMsg_Destroy(message);
}

static char *text(uint32_t *size) {
    uint32_t length;
    if (fread(&length, 4, 1, stdin) != 1) exit(2);
    char *read = malloc(length + 1);
    if (fread(read, 1, length, stdin) != length) exit(2);
    read[length] = 0;
    if (size != NULL) *size = length;
    return read;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    Message *messages = calloc(MOST, sizeof(Message));
    long count = 0;
    uint32_t headers;
    while (count < MOST && fread(&headers, 4, 1, stdin) == 1 && headers <= MOST_HEADERS) {
        Message *made = &messages[count++];
        made->headers = headers;
        made->subject = text(NULL);
        for (uint32_t place = 0; place < headers; place++) {
            made->names[place] = text(NULL);
            made->values[place] = text(NULL);
        }
        made->body = text(&made->size);
    }

    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    jsOptions options;
    require(jsOptions_Init(&options), "options");
    options.PublishAsync.MaxPending = atoi(argv[2]);
    options.PublishAsync.StallWait = 30000;
    options.PublishAsync.AckHandler = on_answer;
    require(natsConnection_ConnectTo(&connection, argv[1]), "connect");
    require(natsConnection_JetStream(&js, connection, &options), "JetStream");

    double begun = seconds(), cpu_begun = cpu_seconds();
    for (long number = 0; number < count; number++) {
        Message *each = &messages[number];
        natsMsg *message = NULL;
        require(natsMsg_Create(&message, each->subject, NULL, each->body, (int)each->size), "message");
        for (uint32_t place = 0; place < each->headers; place++)
            require(natsMsgHeader_Set(message, each->names[place], each->values[place]), "header");
        require(js_PublishMsgAsync(js, &message, NULL), "publish");
    }
    require(js_PublishAsyncComplete(js, NULL), "answers");
    double took = seconds() - begun, cpu = cpu_seconds() - cpu_begun;
    if (acked != count || refused != 0) {
        printf("%ld of %ld were stored, %ld refused\n", acked, count, refused);
        return 1;
    }
    printf("{\"messages_per_s\": %f, \"cpu_us\": %f}\n", count / took, cpu / count * 1e6);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    nats_Close();
    return 0;
}
