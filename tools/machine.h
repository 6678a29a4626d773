/* What a measurement says of the machine that it was made on. */
#ifndef LLAVA_MACHINE_H
#define LLAVA_MACHINE_H

#include <stddef.h>
#include <stdio.h>

/* The first processor as Linux describes it in `cpuinfo`: name and numbers, or those of an ARM
 * core, which has no name. cpuinfo NULL, or nothing known in it: "processor without a name". */
void llava_machine_name(FILE *cpuinfo, char *text, size_t room);

/* Bytes to read over and over so that the caches do not hold them: twice the last cache, at least
 * 64 MiB; 256 MiB where its size is not known. sysfs: the file of Linux that says it ("32768K"),
 * or NULL; then what sysconf says (0, -1: nothing). */
size_t llava_machine_read_size(FILE *sysfs, long sysconf_bytes);

#endif
