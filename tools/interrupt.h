/* Ending in order when a signal ends the program: temporary files go, and a file that shrank while
 * it was mapped gives the line and exit status of any other bad file instead of a bus error.
 *
 * With progress.h the one piece of the program with state for the whole process: a signal belongs
 * to no one else.
 */
#ifndef LLAVA_INTERRUPT_H
#define LLAVA_INTERRUPT_H

/* Takes SIGINT, SIGTERM, SIGHUP, SIGXCPU and SIGBUS, once, at the start. The first four then end
 * it as they would have, so that a shell sees it; SIGBUS writes one line and ends it with status 2.
 * A process forked later leaves the files alone. */
void llava_interrupt_install(void);

/* From here on, path (a file or a folder of files) goes when a signal ends the program. More than
 * LLAVA_INTERRUPT_PATHS at a time, or longer ones than PATH_MAX: they stay behind, as a kill would
 * leave them. */
void llava_interrupt_watch(const char *path);
/* No longer: it stands under its final name, or is gone. */
void llava_interrupt_forget(const char *path);

#define LLAVA_INTERRUPT_PATHS 16

#endif
