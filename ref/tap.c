#include "tap.h"

size_t llava_tap_count(const llava_tap *tap)
{
    size_t count = 1;
    for (int i = 0; i < tap->rank; i++) {
        count *= tap->shape[i];
    }
    return count;
}
