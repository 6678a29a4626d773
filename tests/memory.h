/* Memory that runs out within a test: allocations of the code under test pass through here (the
 * linker's --wrap), and cJSON's. tools/check_faults.py does the same to whole commands. */
#ifndef LLAVA_TESTS_MEMORY_H
#define LLAVA_TESTS_MEMORY_H

#include "ref/error.h"

/* Calls the step over and over: its first allocation fails, then its second alone, and so on, until
 * it asks for no more. Each time it must return false and say that memory is out, but the last
 * time, when it must succeed. Returns how many allocations the step makes, or a few more where
 * LLAVA_TESTS=short takes a sample of them. */
size_t memory_runs_out(bool (*step)(void *self, llava_error *e), void *self);

#endif
