/* Tries to copy masters to the USB disk, a fresh process every so many milliseconds, until it is told to stop (SIGTERM).
 * Then it says how often it tried and how often bytes arrived. copier MILLISECONDS DIRECTORY MASTER... */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static int failed(const char *what)
{
    perror(what);
    return 2;
}

/* 0: it was refused. 1: bytes arrived. */
static int copy(const char *from, const char *to)
{
    char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return 0;
    ssize_t length = read(in, bytes, sizeof bytes);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return length > 0 && out >= 0 && write(out, bytes, length) > 0;
}

int main(int count, char **words)
{
    long pause = count < 4 ? 0 : atol(words[1]);
    if (pause < 1 || pause > 999) {
        fputs("copier MILLISECONDS DIRECTORY MASTER...\n", stderr);
        return 2;
    }
    struct sigaction action = { .sa_handler = stop };
    sigaction(SIGTERM, &action, NULL);
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    unsigned long tried = 0, arrived = 0, late = 0;
    char to[4096];
    while (!stopped) {
        const char *from = words[3 + tried % (count - 3)];
        snprintf(to, sizeof to, "%s/%lu", words[2], tried % 8);
        pid_t child = fork();
        if (child < 0)
            return failed("fork");
        if (child == 0)
            _exit(copy(from, to));
        int status = 0;
        while (waitpid(child, &status, 0) < 0 && stopped)
            ;
        int has_arrived = WIFEXITED(status) && WEXITSTATUS(status) == 1;
        if (has_arrived) {
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            fprintf(stderr, "%ld.%03ld %s arrived as %s\n", (long)now.tv_sec, now.tv_nsec / 1000000, from, to);
        }
        arrived += has_arrived;
        tried++;
        next.tv_nsec += pause * 1000000;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec > next.tv_sec || (now.tv_sec == next.tv_sec && now.tv_nsec > next.tv_nsec)) {
            late++;
            next = now;
        } else {
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        }
    }
    printf("{\"tried\": %lu, \"arrived\": %lu, \"late\": %lu}\n", tried, arrived, late);
    return 0;
}
