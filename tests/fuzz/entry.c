/* The entry that libFuzzer and AFL++ call, for the target named by the environment's FUZZ_TARGET.
 */
#include "tests/fuzz/targets.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const fuzz_target *target;

/* NOLINTNEXTLINE(readability-non-const-parameter): libFuzzer declares it so */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *name = getenv("FUZZ_TARGET");
    target = name == NULL ? NULL : fuzz_target_find(name);
    if (target == NULL) {
        fprintf(stderr, "fuzz: FUZZ_TARGET must name a target\n");
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    target->run(bytes, n);
    return 0;
}
