#include "tools/machine.h"

#include <stdlib.h>
#include <string.h>

/* The next line of one that may be NULL, or an empty one. */
static const char *next_line(FILE *file, char *line, int room)
{
    line[0] = '\0';
    return file == NULL || fgets(line, room, file) == NULL ? "" : line;
}

void llava_machine_name(FILE *cpuinfo, char *text, size_t room)
{
    static const char *const keys[] = {"model name", "cpu family",      "model",
                                       "stepping",   "CPU implementer", "CPU part"};
    enum { KEYS = sizeof keys / sizeof keys[0] };
    char values[KEYS][64] = {"processor without a name"}, line[256];
    while (next_line(cpuinfo, line, sizeof line)[strspn(line, "\n")] != '\0') {
        const char *value = strstr(line, ": ");
        size_t length = strcspn(line, "\t:");
        for (size_t i = 0; value != NULL && i < KEYS; i++) {
            if (strlen(keys[i]) == length && strncmp(line, keys[i], length) == 0) {
                snprintf(values[i], sizeof values[i], "%.*s", (int)strcspn(value + 2, "\n"),
                         value + 2);
            }
        }
    }
    snprintf(text, room, "%s", values[0]);
    for (size_t i = 1; i < KEYS; i++) {
        size_t used = strlen(text);
        if (values[i][0] != '\0') {
            snprintf(text + used, room - used, ", %s %s", keys[i], values[i]);
        }
    }
}

/* Linux' word goes first: where cores share several caches, glibc's sysconf counts them all
 * (320 MiB for 32). */
size_t llava_machine_read_size(FILE *sysfs, long sysconf_bytes)
{
    const size_t mib = (size_t)1 << 20;
    char text[16];
    unsigned long kib = strtoul(next_line(sysfs, text, sizeof text), NULL, 10);
    size_t cache = sysconf_bytes > 0 && sysconf_bytes < 1L << 30 ? (size_t)sysconf_bytes : 0;
    if (kib > 0 && kib < 1UL << 20) {
        cache = (size_t)kib << 10;
    }
    return cache == 0 ? 256 * mib : cache > 32 * mib ? 2 * cache : 64 * mib;
}
