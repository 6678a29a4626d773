/* llava_dump.h: writes a port's tensors as a folder of .npy files that llava-ref (and NumPy) reads.
 *
 *     #include "llava_dump.h"
 *     const size_t shape[] = {1, 577, 1024};
 *     llava_dump_f32("port-dump", "vision.pre_norm", x, 3, shape);
 *
 *     llava-ref diagnose --model MODEL --inputs inputs.npz --dump port-dump
 *
 * One file to copy into a port: C11 or C++11 on POSIX systems or Windows, nothing but the standard
 * library and mkdir. Names are the tap names of `llava-ref explain`, or the port's own together
 * with a --map. The same name again replaces the file: give the steps of a generation names of
 * their own ("step.1.logits", ...).
 *
 * Every function returns LLAVA_DUMP_OK (0) or a code that llava_dump_problem() puts into words; no
 * function prints, exits or keeps state, and different tensors may be written by different threads.
 * Tensors lie in memory in C order (the last index fastest; llava_dump_view takes any strides) and
 * in the machine's byte order; files are little-endian everywhere. A file has its final name only
 * when it is complete.
 *
 * (The program's own writer is tools/dump_writer.h; this one serves other programs.) */
#ifndef LLAVA_DUMP_SINGLE_HEADER
#define LLAVA_DUMP_SINGLE_HEADER

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#ifdef _WIN32
#include <direct.h>
#else
#include <sys/stat.h>
#endif

enum { LLAVA_DUMP_RANK = 8, LLAVA_DUMP_NAME = 256, LLAVA_DUMP_PATH = 1536 };

/* What can go wrong. */
enum {
    LLAVA_DUMP_OK = 0,
    LLAVA_DUMP_BAD_NAME,  /* empty, too long, begins with a dot, or holds / \ : or a control byte */
    LLAVA_DUMP_BAD_SHAPE, /* rank not 0..8, no shape or data, or more bytes than memory can have */
    LLAVA_DUMP_BAD_TYPE,  /* no llava_dump_type */
    LLAVA_DUMP_NO_FOLDER, /* the folder (or one above it) cannot be made */
    LLAVA_DUMP_NO_FILE,   /* the file cannot be created in it */
    LLAVA_DUMP_NO_ROOM    /* a write failed; errno says why. No file remains */
};

/* Element types. F16 and BF16 are uint16_t bit patterns; BF16, which NumPy does not have, is stored
 * as the float32 of the same value. */
typedef enum {
    LLAVA_DUMP_F64,
    LLAVA_DUMP_F32,
    LLAVA_DUMP_F16,
    LLAVA_DUMP_BF16,
    LLAVA_DUMP_I64,
    LLAVA_DUMP_I32,
    LLAVA_DUMP_U8,
    LLAVA_DUMP_TYPES
} llava_dump_type;

static inline const char *llava_dump_problem(int code)
{
    switch (code) {
    case LLAVA_DUMP_OK:
        return "done";
    case LLAVA_DUMP_BAD_NAME:
        return "a tensor's name must be 1 to 255 characters, without / \\ : or a leading dot";
    case LLAVA_DUMP_BAD_SHAPE:
        return "a tensor has 0 to 8 dimensions, data, and a size that fits in memory";
    case LLAVA_DUMP_BAD_TYPE:
        return "unknown element type";
    case LLAVA_DUMP_NO_FOLDER:
        return "the folder cannot be made";
    case LLAVA_DUMP_NO_FILE:
        return "the file cannot be created";
    case LLAVA_DUMP_NO_ROOM:
        return "the file cannot be written";
    default:
        return "unknown code";
    }
}

/* "text.layers" 3 "attn.q" -> "text.layers.3.attn.q", in `name`, which is also returned. A name
 * that does not fit becomes empty, which every function below refuses. */
static inline const char *llava_dump_layer(char name[LLAVA_DUMP_NAME], const char *stack, int layer,
                                           const char *tap)
{
    const int n = snprintf(name, LLAVA_DUMP_NAME, "%s.%d.%s", stack, layer, tap);
    if (n < 0 || n >= LLAVA_DUMP_NAME) {
        name[0] = '\0';
    }
    return name;
}

/* --- what the functions at the end are made of --------------------------------------------- */

/* Bytes of an element in memory; 0 for no type. */
static inline size_t llava_dump_size_(llava_dump_type type)
{
    switch (type) {
    case LLAVA_DUMP_F64:
    case LLAVA_DUMP_I64:
        return 8;
    case LLAVA_DUMP_F32:
    case LLAVA_DUMP_I32:
        return 4;
    case LLAVA_DUMP_F16:
    case LLAVA_DUMP_BF16:
        return 2;
    case LLAVA_DUMP_U8:
        return 1;
    case LLAVA_DUMP_TYPES:
    default:
        return 0;
    }
}

/* The type as NumPy writes it. */
static inline const char *llava_dump_descr_(llava_dump_type type)
{
    static const char *const words[LLAVA_DUMP_TYPES] = {"<f8", "<f4", "<f2", "<f4",
                                                        "<i8", "<i4", "|u1"};
    return words[type];
}

static inline int llava_dump_name_fits_(const char *name)
{
    size_t n = 0;
    if (name == NULL || name[0] == '\0' || name[0] == '.') {
        return 0;
    }
    for (; name[n] != '\0'; n++) {
        const unsigned char c = (unsigned char)name[n];
        if (n + 1 >= LLAVA_DUMP_NAME || c < 0x20 || c == 0x7f || strchr("/\\:", name[n]) != NULL) {
            return 0;
        }
    }
    return 1;
}

/* Makes one folder; one that is there already is as good. */
static inline int llava_dump_make_(const char *path)
{
#ifdef _WIN32
    return _mkdir(path) == 0 || errno == EEXIST;
#else
    return mkdir(path, 0777) == 0 || errno == EEXIST;
#endif
}

/* Makes a folder and those above it. Those above may exist and be closed to us ("/", a drive), so
 * only the last one decides; what is no folder is found out when the file is created. */
static inline int llava_dump_folder_(const char *folder)
{
    char path[LLAVA_DUMP_PATH];
    size_t i, n = strlen(folder);
    if (n == 0 || n >= sizeof path) {
        return 0;
    }
    memcpy(path, folder, n + 1);
    while (n > 1 && path[n - 1] == '/') {
        path[--n] = '\0';
    }
    for (i = 1; i < n; i++) {
        if (path[i] == '/') {
            path[i] = '\0';
            (void)llava_dump_make_(path);
            path[i] = '/';
        }
    }
    return llava_dump_make_(path);
}

/* The header of format 1.0 into out[512], padded so that the data begin at a multiple of 64.
 * Returns its length. The longest, rank 8 with 20 digits each, needs under 256 bytes. */
static inline size_t llava_dump_header_(unsigned char out[512], llava_dump_type type, int rank,
                                        const size_t *shape)
{
    char text[512];
    size_t n, total;
    int i;
    n = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                         llava_dump_descr_(type));
    for (i = 0; i < rank; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%llu", i > 0 ? ", " : "",
                              (unsigned long long)shape[i]);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "%s), }", rank == 1 ? "," : "");
    total = (10 + n + 1 + 63) / 64 * 64;
    memset(out, ' ', 512);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (unsigned char)((total - 10) & 0xff);
    out[9] = (unsigned char)((total - 10) >> 8);
    memcpy(out + 10, text, n);
    out[total - 1] = '\n';
    return total;
}

/* One element from memory to the file's bytes. Returns how many. */
static inline size_t llava_dump_element_(unsigned char out[8], llava_dump_type type,
                                         const unsigned char *from)
{
    uint64_t bits = 0;
    uint32_t four = 0;
    uint16_t two = 0;
    size_t i, n = llava_dump_size_(type);
    if (n == 8) {
        memcpy(&bits, from, 8);
    } else if (n == 4) {
        memcpy(&four, from, 4);
        bits = four;
    } else if (n == 2) {
        memcpy(&two, from, 2);
        bits = two;
    } else {
        bits = *from;
    }
    if (type == LLAVA_DUMP_BF16) { /* its bits are a float32's upper half */
        bits <<= 16;
        n = 4;
    }
    for (i = 0; i < n; i++) {
        out[i] = (unsigned char)((bits >> (8 * i)) & 0xff);
    }
    return n;
}

/* All elements in C order. strides: bytes from one index to the next. */
static inline int llava_dump_elements_(FILE *file, llava_dump_type type, const unsigned char *data,
                                       int rank, const size_t *shape, const ptrdiff_t *strides,
                                       size_t count)
{
    unsigned char buffer[4096];
    size_t index[LLAVA_DUMP_RANK] = {0}, used = 0;
    ptrdiff_t offset = 0;
    while (count-- > 0) {
        int axis = rank - 1;
        if (used + 8 > sizeof buffer) {
            if (fwrite(buffer, 1, used, file) != used) {
                return 0;
            }
            used = 0;
        }
        used += llava_dump_element_(buffer + used, type, data + offset);
        for (; axis >= 0; axis--) { /* the next index */
            offset += strides[axis];
            if (++index[axis] < shape[axis]) {
                break;
            }
            offset -= strides[axis] * (ptrdiff_t)shape[axis];
            index[axis] = 0;
        }
    }
    return fwrite(buffer, 1, used, file) == used;
}

/* The elements, or 0 with *ok = 0 where their bytes (8 each at most) are more than memory can have.
 * An extent of zero does not excuse the others. */
static inline size_t llava_dump_count_(int rank, const size_t *shape, int *ok)
{
    size_t all = 1, nonzero = 1;
    int i;
    *ok = 1;
    for (i = 0; i < rank; i++) {
        const size_t extent = shape[i] > 0 ? shape[i] : 1;
        if (nonzero > (size_t)PTRDIFF_MAX / 8 / extent) {
            *ok = 0;
            return 0;
        }
        nonzero *= extent;
        all *= shape[i];
    }
    return all;
}

/* --- writing a tensor ----------------------------------------------------------------------- */

/* A view: strides[i] is the number of BYTES from one index of dimension i to the next (ggml's nb[],
 * in NumPy's order: slowest dimension first); they may be negative or 0. strides NULL: C order. A
 * rank of 0 is one number; shape may be NULL then. */
static inline int llava_dump_view(const char *folder, const char *name, llava_dump_type type,
                                  const void *data, int rank, const size_t *shape,
                                  const ptrdiff_t *strides)
{
    unsigned char header[512];
    char path[LLAVA_DUMP_PATH + LLAVA_DUMP_NAME + 16], part[LLAVA_DUMP_PATH + LLAVA_DUMP_NAME + 16];
    ptrdiff_t packed[LLAVA_DUMP_RANK] = {0};
    const size_t size = llava_dump_size_(type);
    size_t count, length;
    FILE *file;
    int i, ok;

    if (!llava_dump_name_fits_(name)) {
        return LLAVA_DUMP_BAD_NAME;
    }
    if (size == 0) {
        return LLAVA_DUMP_BAD_TYPE;
    }
    if (rank < 0 || rank > LLAVA_DUMP_RANK || (rank > 0 && shape == NULL)) {
        return LLAVA_DUMP_BAD_SHAPE;
    }
    count = llava_dump_count_(rank, shape, &ok);
    if (!ok || (count > 0 && data == NULL)) {
        return LLAVA_DUMP_BAD_SHAPE;
    }
    if (strides == NULL) {
        ptrdiff_t step = (ptrdiff_t)size;
        for (i = rank - 1; i >= 0; i--) {
            packed[i] = step;
            step *= (ptrdiff_t)(shape[i] > 0 ? shape[i] : 1);
        }
    }
    if (folder == NULL || !llava_dump_folder_(folder)) {
        return LLAVA_DUMP_NO_FOLDER;
    }
    (void)snprintf(path, sizeof path, "%s/%s.npy", folder, name);
    (void)snprintf(part, sizeof part, "%s/%s.npy.part", folder, name);
    file = fopen(part, "wb");
    if (file == NULL) {
        return LLAVA_DUMP_NO_FILE;
    }
    length = llava_dump_header_(header, type, rank, shape);
    ok = fwrite(header, 1, length, file) == length &&
         llava_dump_elements_(file, type, (const unsigned char *)data, rank, shape,
                              strides != NULL ? strides : packed, count);
    ok = fclose(file) == 0 && ok;
#ifdef _WIN32
    (void)remove(path); /* rename does not replace there */
#endif
    if (!ok || rename(part, path) != 0) {
        const int why = errno;
        (void)remove(part);
        errno = why;
        return LLAVA_DUMP_NO_ROOM;
    }
    return LLAVA_DUMP_OK;
}

/* A tensor in C order: shape[0] is the slowest dimension. */
static inline int llava_dump_f64(const char *folder, const char *name, const double *data, int rank,
                                 const size_t *shape)
{
    return llava_dump_view(folder, name, LLAVA_DUMP_F64, data, rank, shape, NULL);
}

static inline int llava_dump_f32(const char *folder, const char *name, const float *data, int rank,
                                 const size_t *shape)
{
    return llava_dump_view(folder, name, LLAVA_DUMP_F32, data, rank, shape, NULL);
}

static inline int llava_dump_f16(const char *folder, const char *name, const uint16_t *bits,
                                 int rank, const size_t *shape)
{
    return llava_dump_view(folder, name, LLAVA_DUMP_F16, bits, rank, shape, NULL);
}

static inline int llava_dump_bf16(const char *folder, const char *name, const uint16_t *bits,
                                  int rank, const size_t *shape)
{
    return llava_dump_view(folder, name, LLAVA_DUMP_BF16, bits, rank, shape, NULL);
}

static inline int llava_dump_i64(const char *folder, const char *name, const int64_t *data,
                                 int rank, const size_t *shape)
{
    return llava_dump_view(folder, name, LLAVA_DUMP_I64, data, rank, shape, NULL);
}

static inline int llava_dump_i32(const char *folder, const char *name, const int32_t *data,
                                 int rank, const size_t *shape)
{
    return llava_dump_view(folder, name, LLAVA_DUMP_I32, data, rank, shape, NULL);
}

static inline int llava_dump_u8(const char *folder, const char *name, const uint8_t *data, int rank,
                                const size_t *shape)
{
    return llava_dump_view(folder, name, LLAVA_DUMP_U8, data, rank, shape, NULL);
}

#endif
